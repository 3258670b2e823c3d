"""Which label is taken for which: accuracy, precision and recall are read from one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_LABELS = 20  # whose matrix fits on a screen
TINY = 1e-30  # what log p is cut at, so that one hopeless text gives a finite loss


@dataclass(frozen=True)
class Confusion:
    """counts (C, C): texts of the row's label that were given the column's. loss: the mean of
    -log p(label), nats a text.
    """

    labels: tuple[str, ...]
    counts: np.ndarray
    loss: float

    @classmethod
    def of(cls, labels: tuple[str, ...], targets: np.ndarray, p: np.ndarray) -> Confusion:
        """From the labels' numbers (N,) and the probabilities (N, C) that a model gave them."""
        counts = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(counts, (targets, p.argmax(1)), 1)
        log_p = np.log(np.maximum(p[np.arange(len(p)), targets], TINY, dtype=np.float64))
        return cls(tuple(labels), counts, float(-log_p.mean()))

    @property
    def accuracy(self) -> float:
        """The share of texts that were given their label."""
        return float(np.trace(self.counts) / max(self.counts.sum(), 1))

    @property
    def precision(self) -> np.ndarray:
        """(C,): of the texts given a label, the share that have it; 0 where none was given it."""
        return np.diagonal(self.counts) / np.maximum(self.counts.sum(0), 1)

    @property
    def recall(self) -> np.ndarray:
        """(C,): of the texts that have a label, the share given it; 0 where none has it."""
        return np.diagonal(self.counts) / np.maximum(self.counts.sum(1), 1)

    @property
    def rank(self) -> tuple[float, ...]:
        """What the best weights of a run are chosen by: fewest errors, then the smallest loss."""
        return 1 - self.accuracy, self.loss

    def row(self) -> dict[str, float]:
        """The figures as a run's journal holds them."""
        return {"validation_loss": self.loss, "validation_accuracy": self.accuracy}

    def __str__(self) -> str:
        return f"loss {self.loss:.4f} nats/text, accuracy {self.accuracy:.2%}"

    def table(self) -> str:
        """The matrix with precision and recall of each label, as lines of text; for more than
        MOST_LABELS the precision and recall alone.
        """
        names = [label if len(label) <= 16 else f"{label[:15]}…" for label in self.labels]
        if len(names) > MOST_LABELS:
            rows = zip(names, self.counts.sum(1).tolist(), self.precision, self.recall, strict=True)
            lines = [f"{name:<18}{texts:>8,}{p:>11.2%}{r:>11.2%}" for name, texts, p, r in rows]
            return "\n".join([f"{'label':<18}{'texts':>8}{'precision':>11}{'recall':>11}", *lines])
        wide = max(8, *map(len, names)) + 2
        first = max(wide, len("true \\ given") + 2)
        head = "".join(f"{name:>{wide}}" for name in (*names, "recall"))
        lines = [f"{'true / given':<{first}}{head}"]
        for name, row, recall in zip(names, self.counts, self.recall, strict=True):
            cells = "".join(f"{count:>{wide},}" for count in row.tolist())
            lines.append(f"{name:<{first}}{cells}{recall:>{wide}.2%}")
        cells = "".join(f"{value:>{wide}.2%}" for value in self.precision)
        return "\n".join([*lines, f"{'precision':<{first}}{cells}"])

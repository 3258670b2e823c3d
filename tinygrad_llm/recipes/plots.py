"""loss.png: the two losses over the steps, so that one look says whether a run is healthy; and
confusion.png: which label is taken for which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.files import write_atomic
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.training.journal import read_journal

FILE, CONFUSION = "loss.png", "confusion.png"
MOST_NUMBERED = 40  # labels; more numbers than their square are too small to read


def draw_losses(folder: Path, reporter: Reporter) -> None:
    """Draw log.jsonl as a picture; without matplotlib, say how to get it."""
    rows = read_journal(folder)

    def draw(axes: Any) -> None:
        for key, label, style in (
            ("loss", "training batch", {"linewidth": 0.7, "alpha": 0.6}),
            ("validation_loss", "held-out part", {"marker": "o"}),
        ):
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                axes.plot(
                    *zip(*points, strict=True), label=f"{label}, last {points[-1][1]:.3f}", **style
                )
        axes.set(xlabel="step", ylabel="loss, nats")
        axes.set_title(folder.name, parse_math=False)
        axes.grid(alpha=0.3)
        axes.legend()
        accuracy = [row for row in rows if "validation_accuracy" in row]
        if accuracy:
            _draw_accuracy(axes.twinx(), accuracy)

    _draw(folder / FILE, (8, 5), draw, reporter)


def _draw_accuracy(axes: Any, rows: list[dict[str, Any]]) -> None:
    """On an axis of its own at the right."""
    steps, values = [r["step"] for r in rows], [r["validation_accuracy"] for r in rows]
    axes.plot(steps, values, marker=".", color="tab:green")
    axes.set_ylim(top=1.0)
    axes.set_ylabel(f"held-out accuracy, last {values[-1]:.2%}", color="tab:green")


def draw_confusion(
    folder: Path, labels: Sequence[str], counts: np.ndarray, reporter: Reporter
) -> None:
    """Draw counts (C, C), rows the true labels, columns those given, with the number in each, where
    there is room for it.
    """

    def draw(axes: Any) -> None:
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        if len(labels) <= MOST_NUMBERED:
            for (row, column), count in np.ndenumerate(counts):
                color = "white" if share[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=color)
        plain = {"parse_math": False}  # a dollar is a dollar
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", **plain)
        axes.set_yticks(range(len(labels)), labels, **plain)
        axes.set(xlabel="label given", ylabel="true label")
        axes.set_title(f"{folder.name}, test part", **plain)

    side = min(3 + 0.6 * len(labels), 20)
    _draw(folder / CONFUSION, (side, side), draw, reporter)


def _draw(
    path: Path, size: tuple[float, float], draw: Callable[[Any], None], reporter: Reporter
) -> None:
    """Write what `draw` draws on the axes it is given; without matplotlib, say how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        reporter.note(f"{path.name} is not drawn without matplotlib; pip install matplotlib")
        return
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots())
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"))

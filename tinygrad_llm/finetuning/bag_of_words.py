"""The cheap baseline: logistic regression on how often each word stands in a text, in plain NumPy.

It knows no order and no language; what a fine-tuned model adds is what it finds beyond this.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_llm.ops.optimizer import adamw

WORD = re.compile(r"\w+")
STEPS = 300  # of Adam on the whole training part; the loss is convex
PENALTY = 1e-3  # of the weights' squares
MOST_WORDS = 50_000  # the most frequent ones


class Counts:
    """Texts as rows of word counts, of which only those above zero are stored."""

    def __init__(self, texts: Sequence[str], columns: dict[str, int]):
        bags = [Counter(w for w in words(text) if w in columns) for text in texts]
        self.size = len(texts)
        self.rows = np.repeat(np.arange(self.size), [len(bag) for bag in bags])
        self.columns = np.array([columns[w] for bag in bags for w in bag], np.int64)
        self.counts = np.array([n for bag in bags for n in bag.values()], np.float64)

    def times(self, weights: np.ndarray) -> np.ndarray:
        """X W: (N, V) (V, C) -> (N, C)."""
        parts = (weights[self.columns, c] * self.counts for c in range(weights.shape[1]))
        return np.stack([np.bincount(self.rows, p, minlength=self.size) for p in parts], axis=1)

    def transposed_times(self, rows: np.ndarray, width: int) -> np.ndarray:
        """X^T D: (V, N) (N, C) -> (V, C)."""
        parts = (rows[self.rows, c] * self.counts for c in range(rows.shape[1]))
        return np.stack([np.bincount(self.columns, p, minlength=width) for p in parts], axis=1)


class BagOfWords:
    """Trained on texts and the numbers (N,) of their labels, C in all. progress is told of steps
    that are done.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: np.ndarray,
        classes: int,
        progress: Callable[[int], object] = lambda done: None,
    ):
        seen = Counter(w for text in texts for w in words(text)).most_common(MOST_WORDS)
        self._columns = {word: i for i, (word, _) in enumerate(seen)}
        counts, target = Counts(texts, self._columns), np.eye(classes)[labels]
        shape = (len(seen), classes)
        self._weights, self._bias = np.zeros(shape), np.zeros(classes)
        state = {id(x): (np.zeros(x.shape), np.zeros(x.shape)) for x in self._parameters()}
        for step in range(1, STEPS + 1):
            d = (_softmax(counts.times(self._weights) + self._bias) - target) / len(texts)
            gradients = counts.transposed_times(d, len(seen)) + PENALTY * self._weights, d.sum(0)
            lr = 0.1 * (1 - (step - 1) / STEPS)
            for x, gradient in zip(self._parameters(), gradients, strict=True):
                options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
                adamw(x, gradient, *state[id(x)], lr=lr, step=step, scale=1.0, **options)
            progress(1)

    def _parameters(self) -> tuple[np.ndarray, np.ndarray]:
        return self._weights, self._bias

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The probability of each label for each text, (N, C)."""
        return _softmax(Counts(texts, self._columns).times(self._weights) + self._bias)


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return WORD.findall(text.lower())


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)

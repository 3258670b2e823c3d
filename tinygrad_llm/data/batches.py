"""Tokens as batches of inputs and targets, the same text shifted by one: the labels are made on the fly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm.data.shards import Tokens
from tinygrad_llm.errors import InputError

Batch = tuple[np.ndarray, np.ndarray]


class Batches:
    """An endless iterator of (inputs, targets), each int64 (batch_size, context).

    An epoch cuts the text into windows that start at a random phase, and visits them in a random order.
    """

    def __init__(self, tokens: Tokens, *, batch_size: int, context: int, rng: np.random.Generator):
        if len(tokens) < context + 1:
            raise InputError(f"the training text has {len(tokens)} tokens, but one context needs {context + 1}; "
                             f"give more text or set n_positions to {max(len(tokens) - 1, 1)} or less")
        self.tokens, self.batch_size, self.context, self.rng = tokens, batch_size, context, rng
        self.epoch, self.position = -1, 0
        self._begin_epoch()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        rows = [self._window() for _ in range(self.batch_size)]
        block = np.stack(rows)
        return block[:, :-1], block[:, 1:]

    def _window(self) -> np.ndarray:
        if self.position == len(self.order):
            self._begin_epoch()
        start = self.phase + int(self.order[self.position]) * self.context
        self.position += 1
        return self.tokens[start:start + self.context + 1]

    def _begin_epoch(self) -> None:
        self.epoch, self.position, self.state = self.epoch + 1, 0, self.rng.bit_generator.state
        spare = len(self.tokens) - 1 - self.context
        self.phase = int(self.rng.integers(min(self.context, spare + 1)))
        windows = (len(self.tokens) - 1 - self.phase) // self.context
        self.order = self.rng.permutation(np.arange(windows, dtype=np.int32))

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on with the very next window; JSON values."""
        return {"epoch": self.epoch, "position": self.position, "rng": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was taken."""
        self.rng.bit_generator.state = state["rng"]
        self.epoch = int(state["epoch"]) - 1
        self._begin_epoch()
        self.position = int(state["position"])


def windows(tokens: Tokens, *, batch_size: int, context: int) -> Iterator[Batch]:
    """All of `tokens` in consecutive windows, in order: each token after the first is a target once.

    The last window may be shorter than `context`; it comes as a batch of its own.
    """
    if len(tokens) < 2:
        raise InputError(f"the text to evaluate has {len(tokens)} tokens; at least 2 are needed")
    whole = (len(tokens) - 1) // context
    for first in range(0, whole, batch_size):
        rows = min(batch_size, whole - first)
        ids = tokens[first * context:(first + rows) * context + 1]
        yield ids[:-1].reshape(rows, context), ids[1:].reshape(rows, context)
    if rest := (len(tokens) - 1) % context:
        ids = tokens[len(tokens) - 1 - rest:]
        yield ids[None, :-1], ids[None, 1:]

"""Tokens to batches: shuffled windows without end to train on, all windows in order to evaluate on.

A batch is (inputs, targets), two int64 arrays (B, T); the target of a token is the token after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tinygrad_llm.data.permutation import draw_keys, permute
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError

Batch = tuple[np.ndarray, np.ndarray]


class Batches:
    """An endless iterator of batches of `batch_size` windows of `context` tokens.

    Each epoch cuts the tokens into windows from a random phase in [0, T) on and shuffles them, so that it reads each
    token once, but for the few before the phase and after the last whole window. `rng` gives one seed, from which
    with its number follows all of an epoch. Memory does not grow with the corpus.
    """

    def __init__(self, tokens: Tokens, *, batch_size: int, context: int, rng: np.random.Generator) -> None:
        _check_sizes(batch_size, context)
        if len(tokens) <= context:
            raise InputError(f"the training text has {len(tokens):,} tokens, but a context of {context:,} needs at "
                             f"least {context + 1:,}; give more text or set a shorter context")
        self.tokens, self.batch_size, self.context = tokens, batch_size, context
        self._seed = int(rng.integers(1 << 63))
        self._begin(0)

    def _begin(self, epoch: int, position: int = 0) -> None:
        rng = np.random.default_rng([self._seed, epoch])
        self._phase = int(rng.integers(min(self.context, len(self.tokens) - self.context)))
        self._count = (len(self.tokens) - 1 - self._phase) // self.context
        self._keys = draw_keys(rng)
        self._epoch, self._position = epoch, position

    @property
    def epoch(self) -> int:
        """The number of the epoch that the last batch ended in; the first is 0."""
        return self._epoch

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        rows = np.stack([self.tokens[start:start + self.context + 1] for start in self._starts()])  # (B, T + 1)
        return rows[:, :-1].copy(), rows[:, 1:].copy()

    def _starts(self) -> np.ndarray:
        """Where the next `batch_size` windows start; a batch may end one epoch and begin another."""
        starts, missing = [], self.batch_size
        while missing:
            if self._position == self._count:
                self._begin(self._epoch + 1)
            stop = min(self._position + missing, self._count)
            numbers = permute(np.arange(self._position, stop), self._count, self._keys)
            starts.append(self._phase + self.context * numbers)
            missing -= stop - self._position
            self._position = stop
        return np.concatenate(starts)

    def state_dict(self) -> dict[str, int]:
        """Where the iterator is, as JSON can hold it: loaded into a new one, the batches go on bit for bit."""
        return {"seed": self._seed, "epoch": self._epoch, "position": self._position,
                "context": self.context, "tokens": len(self.tokens)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a `state_dict`. InputError for one of another corpus or context."""
        own = self.state_dict()
        if set(state) != set(own) or not all(type(value) is int and value >= 0 for value in state.values()):
            raise InputError(f"the state of the batches must hold {', '.join(own)}, each a whole number from 0 on; "
                             f"got {dict(state)}")
        for key in ("context", "tokens"):
            if state[key] != own[key]:
                raise InputError(f"the stored batches had {key} = {state[key]:,}, these have {own[key]:,}; "
                                 "go on with the same corpus and context, or start anew")
        self._seed = state["seed"]
        self._begin(state["epoch"], state["position"])
        if self._position > self._count:
            raise InputError(f"position {self._position:,} is past the {self._count:,} windows of an epoch; "
                             "the stored state is damaged")


def windows(tokens: Tokens, *, batch_size: int, context: int) -> Iterator[Batch]:
    """All tokens in consecutive windows of `context`: each token after the first is a target exactly once.

    The last batch of whole windows may have fewer rows; what is left over is one row of fewer tokens, a batch of
    its own. InputError where there is nothing to predict.
    """
    _check_sizes(batch_size, context)
    if len(tokens) < 2:
        raise InputError(f"the held-out text has {len(tokens)} tokens, but at least 2 are needed to predict one; "
                         "give more text or hold out a larger part")
    return _windows(tokens, batch_size, context)


def _windows(tokens: Tokens, batch_size: int, context: int) -> Iterator[Batch]:
    whole = (len(tokens) - 1) // context * context
    for start in range(0, whole, batch_size * context):
        ids = tokens[start:min(start + batch_size * context, whole) + 1]
        yield ids[:-1].reshape(-1, context), ids[1:].reshape(-1, context)
    if whole < len(tokens) - 1:
        ids = tokens[whole:]
        yield ids[None, :-1], ids[None, 1:]


def _check_sizes(batch_size: int, context: int) -> None:
    if batch_size < 1 or context < 1:
        raise InputError(f"batch_size {batch_size} and context {context} must be at least 1")

"""Tokens to batches: shuffled windows without end to train on, all windows in order to evaluate.

A batch is (inputs, targets), two int64 arrays (B, T); the target of a token is the token after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tinygrad_llm.data.permutation import draw_keys, permute
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError

Batch = tuple[np.ndarray, np.ndarray]

BLOCK = 1024  # windows whose order is computed at a time


class Batches:
    """An endless iterator of batches of `batch_size` windows of `context` tokens.

    Each epoch cuts the tokens into windows, from a random phase in [0, T) on, and shuffles them.
    It reads each token once, but for those before the phase and after the last whole window.
    One seed drawn from `rng` and the number of the epoch decide all of it. Memory does not grow
    with the corpus. InputError for fewer than `context` + 1 tokens.
    """

    def __init__(
        self, tokens: Tokens, *, batch_size: int, context: int, rng: np.random.Generator
    ) -> None:
        _check_sizes(batch_size, context)
        if len(tokens) <= context:
            raise InputError(
                f"the training text has {len(tokens):,} tokens, but a context of "
                f"{context:,} needs at least {context + 1:,}; give more text or set a "
                "shorter context"
            )
        self.tokens, self.batch_size, self.context = tokens, batch_size, context
        self._seed = int(rng.integers(1 << 63))
        self._begin(0)

    def _begin(self, epoch: int, position: int = 0) -> None:
        rng = np.random.default_rng([self._seed, epoch])
        self._phase = int(rng.integers(min(self.context, len(self.tokens) - self.context)))
        self._count = (len(self.tokens) - 1 - self._phase) // self.context
        self._epoch, self._position = epoch, position
        self._shuffled = _shuffled(position, self._count, draw_keys(rng))

    @property
    def epoch(self) -> int:
        """The number of the epoch that the last batch ended in; the first is 0."""
        return self._epoch

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        starts = [self._next_start() for _ in range(self.batch_size)]
        rows = np.stack([self.tokens[start : start + self.context + 1] for start in starts])
        return rows[:, :-1].copy(), rows[:, 1:].copy()

    def _next_start(self) -> int:
        """Where the next window starts. A batch may end one epoch and begin another."""
        if self._position == self._count:
            self._begin(self._epoch + 1)
        self._position += 1
        return self._phase + self.context * next(self._shuffled)

    def state_dict(self) -> dict[str, int]:
        """Where the iterator is, as JSON can hold it: with it, another goes on bit for bit."""
        return {
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
            "context": self.context,
            "tokens": len(self.tokens),
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a `state_dict`. InputError for one of another corpus or context."""
        own = self.state_dict()
        if set(state) != set(own) or any(type(n) is not int or n < 0 for n in state.values()):
            raise InputError(
                f"the state of batches has {', '.join(own)}, all whole numbers from 0 "
                f"on, not {dict(state)}"
            )
        for key in ("context", "tokens"):
            if state[key] != own[key]:
                raise InputError(
                    f"the stored batches had {key} = {state[key]:,}, these have "
                    f"{own[key]:,}; use the same corpus and context, or start anew"
                )
        self._seed = state["seed"]
        self._begin(state["epoch"], state["position"])
        if self._position > self._count:
            raise InputError(
                f"position {self._position:,} is past the {self._count:,} windows of "
                "an epoch: the stored state is damaged; start anew"
            )


def _shuffled(position: int, count: int, keys: np.ndarray) -> Iterator[int]:
    """range(`count`) in the order that the keys give, from `position` on."""
    for start in range(position, count, BLOCK):
        yield from permute(np.arange(start, min(start + BLOCK, count)), count, keys).tolist()


def windows(tokens: Tokens, *, batch_size: int, context: int) -> Iterator[Batch]:
    """All tokens in consecutive windows of `context`; each but the first is a target once.

    The last batch of whole windows may have fewer rows. Tokens that are left over make a batch of
    one shorter row. InputError where there is nothing to predict.
    """
    _check_sizes(batch_size, context)
    if len(tokens) < 2:
        raise InputError(
            f"the held-out text has {len(tokens)} tokens, but 2 or more are needed to "
            "predict one; give more text or hold out a larger part"
        )
    return _windows(tokens, batch_size, context)


def _windows(tokens: Tokens, batch_size: int, context: int) -> Iterator[Batch]:
    whole = (len(tokens) - 1) // context * context
    for start in range(0, whole, batch_size * context):
        ids = tokens[start : min(start + batch_size * context, whole) + 1]
        yield ids[:-1].reshape(-1, context), ids[1:].reshape(-1, context)
    if whole < len(tokens) - 1:
        ids = tokens[whole:]
        yield ids[None, :-1], ids[None, 1:]


def _check_sizes(batch_size: int, context: int) -> None:
    if batch_size < 1 or context < 1:
        raise InputError(f"batch_size {batch_size} and context {context} must be at least 1")

"""A model that reads on and on: tokens in, scores of the next token out. It chooses nothing.

Past the model's context the window slides: when it is full, the last half of it is read again and
the text goes on from there, so most steps read a single token.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.cache import KVCache
from tinygrad_llm.inference.step import NotAProgram, Step, can_be_kept
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.nn import Module
from tinygrad_llm.tensor import no_grad


class Decoder:
    """A batch of B texts of equal length, of which each `read` adds the next tokens.

    use_cache=False reads the whole window again at each step; the scores are the same.
    """

    def __init__(self, model: GPT, *, use_cache: bool = True):
        self._model, self._use_cache = model, use_cache
        self._caches: list[KVCache] | None = None
        self._ids: np.ndarray | None = None  # (B, tokens read)
        self._start = 0  # of the window
        self._step: Step | None = None
        self._as_program = all(p.dtype == np.float32 for p in model.parameters())

    def read(self, ids: np.ndarray) -> np.ndarray:
        """The tokens ids (B, T) that follow -> logits (B, V) of the token after them."""
        self._ids = ids if self._ids is None else np.concatenate([self._ids, ids], axis=1)
        start = window_start(self._ids.shape[1], self._model.config.n_positions)
        if self._caches is None or start != self._start:
            ids = self._ids[:, start:]
            if self._use_cache:
                self._caches = [KVCache() for _ in range(self._model.config.n_layer)]
                self._step = None
        self._start = start
        with evaluating(self._model):
            logits = self._logits(ids)
        return checked_scores(logits)

    def _logits(self, ids: np.ndarray) -> np.ndarray:
        """(B, V) of the token after these; a single one is read by a program of kernels."""
        caches, batch = self._caches, len(ids)
        alone = caches is not None and ids.shape[1] == 1 and len(caches[0]) > 0
        if alone and self._as_program and can_be_kept():
            try:
                if self._step is None or not self._step.fits(caches, batch):
                    self._step = Step(self._model, caches, batch)
                return self._step.read(ids)
            except NotAProgram:
                self._as_program = False
        hidden = self._model.hidden(ids, cache=caches)
        return self._model.lm_head(hidden[:, -1]).data

    def cache_bytes(self) -> int:
        """Bytes of the memory for keys and values, with the room for tokens to come."""
        return sum(cache.nbytes for cache in self._caches or ())

    def reorder(self, rows: np.ndarray) -> None:
        """Let the batch be these of its rows, each any number of times; before the first `read`
        there are none.
        """
        if self._ids is not None:
            self._ids = self._ids[rows]
        for cache in self._caches or ():
            cache.reorder(rows)


def window_start(length: int, n_positions: int) -> int:
    """Where the window of a text of so many tokens begins: a function of the length alone.

    It holds n_positions // 2 to n_positions tokens, and moves each time it would hold one more.

    >>> [window_start(length, 4) for length in (1, 4, 5, 6, 7, 8)]
    [0, 0, 3, 3, 3, 6]
    """
    step = n_positions + 1 - max(1, n_positions // 2)
    return max(0, -(-(length - n_positions) // step)) * step


def checked_scores(logits: np.ndarray) -> np.ndarray:
    """The logits; InputError where one is no finite number."""
    if not np.isfinite(logits).all():
        raise InputError(
            "the model's scores are not finite numbers: its weights are damaged "
            "or its training diverged; use an earlier checkpoint"
        )
    return logits


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Inside this block dropout is off and nothing is recorded for a backward pass."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with no_grad():
            yield
    finally:
        if was_training:
            model.train()


def checked_prompt(model: GPT, ids: Sequence[int]) -> list[int]:
    """ids as a list of int; InputError where there is none, or one is not in the vocabulary."""
    ids = [operator.index(token) for token in ids]
    if not ids:
        raise InputError("the prompt is empty; give one token or more to go on from")
    check_vocabulary(model, ids, "the prompt")
    return ids


def check_vocabulary(model: Module, ids: Sequence[int], what: str) -> None:
    """InputError where an id is none that the model knows: its tokenizer may know more."""
    size = model.config.vocab_size
    for token in ids:
        if not 0 <= token < size:
            raise InputError(
                f"{what} has the token {token}, but the model's vocabulary has {size:,}; "
                "does the tokenizer belong to it?"
            )

"""A sequence of token ids over arrays or files of any size; only what is asked for is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from tinygrad_llm.data.token_file import TokenFile
from tinygrad_llm.errors import InputError


class Tokens:
    """A read-only view of the ids of `parts`, one after the other; threads may share it.

    >>> train, validation = Tokens.from_array(np.arange(20)).split(0.1)
    >>> len(train), validation[:]
    (18, array([18, 19]))
    """

    def __init__(
        self, parts: Sequence[np.ndarray | TokenFile], start: int = 0, stop: int | None = None
    ) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))
        self._start = start
        self._stop = self._ends[-1] if stop is None else stop

    @classmethod
    def from_array(cls, ids: np.ndarray) -> Tokens:
        """The tokens of an integer array (n,)."""
        ids = np.asarray(ids)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InputError(
                f"token ids are one row of integers, not {ids.dtype} of shape {ids.shape}"
            )
        return cls([ids])

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, span: slice) -> np.ndarray:
        """The ids of `tokens[start:stop]` as a new int64 array (n,)."""
        if not isinstance(span, slice) or span.step not in (None, 1):
            raise TypeError(f"tokens are read as tokens[start:stop], not with {span!r}")
        start, stop, _ = span.indices(len(self))
        ids, filled = np.empty(max(stop - start, 0), np.int64), 0
        start += self._start
        number = bisect_right(self._ends, start)
        while filled < len(ids):
            part = self._parts[number]
            inside = start + filled - (self._ends[number] - len(part))
            piece = part[inside : inside + len(ids) - filled]
            ids[filled : filled + len(piece)] = piece
            filled, number = filled + len(piece), number + 1
        return ids

    def split(self, fraction: float) -> tuple[Tokens, Tokens]:
        """(train, validation): the last `fraction` is for validation, 0.1 in nanoGPT."""
        if not 0 < fraction < 1:
            raise InputError(
                f"a validation split of {fraction} is not between 0 and 1; 0.1 is usual"
            )
        border = self._start + int(len(self) * (1 - fraction))
        return (Tokens(self._parts, self._start, border), Tokens(self._parts, border, self._stop))

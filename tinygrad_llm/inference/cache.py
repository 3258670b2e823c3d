"""The key-value cache: what attention made of earlier tokens, kept, so that a step reads one token.

One cache for each layer. B batch, G key-value heads, S tokens so far, D width of a head.
"""

from __future__ import annotations

import numpy as np

from tinygrad_llm.nn.attention import KeysValues
from tinygrad_llm.tensor import Tensor

FIRST_CAPACITY = 64


class KVCache:
    """Keys and values (B, G, S, D) in memory that doubles when it is full."""

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._length = 0

    def __len__(self) -> int:
        """S, the tokens it holds."""
        return self._length

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values (B, G, T, D) of the next T tokens; views of all so far, no copies."""
        start, end = self._length, self._length + k.shape[2]
        self._keys, self._values = _with_room(self._keys, k, end), _with_room(self._values, v, end)
        self._keys.data[:, :, start:end] = k.data
        self._values.data[:, :, start:end] = v.data
        self._length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def reorder(self, rows: np.ndarray) -> None:
        """Let the batch be these of its rows; one may come twice (beams) or never (ended texts)."""
        if self._length and not np.array_equal(rows, np.arange(self._keys.shape[0])):
            self._keys, self._values = self._keys[rows], self._values[rows]


class LayerCache:
    """Of a layer of a decoder that reads a memory: its own cache, and the memory's keys and values,
    which are made once.
    """

    def __init__(self) -> None:
        self.own = KVCache()
        self.memory: KeysValues | None = None

    def reorder(self, rows: np.ndarray, *, memory: bool = True) -> None:
        """As that of KVCache. memory: whether that changes too: not if rows of one source change
        places.
        """
        self.own.reorder(rows)
        if memory and self.memory is not None:
            self.memory = KeysValues(self.memory.keys[rows], self.memory.values[rows])


def _with_room(held: Tensor | None, new: Tensor, needed: int) -> Tensor:
    """`held`, or where it has no room for `needed` tokens, a larger array that begins with it."""
    capacity = held.shape[2] if held is not None else 0
    if needed <= capacity:
        return held
    b, g, _, d = new.shape
    larger = Tensor(np.empty((b, g, max(needed, 2 * capacity, FIRST_CAPACITY), d), new.dtype))
    if held is not None:
        larger.data[:, :, :capacity] = held.data
    return larger

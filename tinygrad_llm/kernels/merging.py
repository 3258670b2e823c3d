"""The compiled twin of `merge` in text/bpe.py: for a short piece by looking at all pairs, which is
faster, for a long one by a heap.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import int64

from tinygrad_llm.kernels.compiling import INNER, Compiled
from tinygrad_llm.kernels.words import slot_of

_NONE = np.iinfo(np.int64).max  # the value of a pair that no merge joins


class Merges(NamedTuple):
    """keys: left << 32 | right, or -1; values: rank << 32 | the id that the two become."""

    keys: np.ndarray
    values: np.ndarray


def merges_of(pairs, ranks, made):
    """The table of the pairs (M, 2), each with its rank and the id that it becomes, (M,) each."""
    size = 1 << max(int(np.ceil(np.log2(max(len(pairs), 1)))) + 1, 4)
    table = Merges(np.full(size, -1, np.int64), np.zeros(size, np.int64))
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    values = np.asarray(ranks, np.int64) << 32 | np.asarray(made, np.int64)
    _fill(table, pairs[:, 0] << 32 | pairs[:, 1], values)
    return table


@Compiled
def _fill(table, keys, values):
    for key, value in zip(keys, values):
        slot = slot_of(table.keys, key)
        table.keys[slot], table.values[slot] = key, value


@njit(**INNER)
def merge(ids, pairs, count, merges):
    """Merge the first `count` ids in place, the pair of the lowest rank first; how many are left.

    pairs: room for the value of each pair of neighbours.
    """
    for i in range(count - 1):
        pairs[i] = _value(merges, ids[i], ids[i + 1])
    while count > 1:
        best = 0
        for i in range(1, count - 1):
            if pairs[i] < pairs[best]:
                best = i
        if pairs[best] == _NONE:
            break
        ids[best] = pairs[best] & 0xFFFFFFFF
        count -= 1
        for i in range(best + 1, count):
            ids[i] = ids[i + 1]
            pairs[i - 1] = pairs[i]
        if best > 0:
            pairs[best - 1] = _value(merges, ids[best - 1], ids[best])
        if best < count - 1:
            pairs[best] = _value(merges, ids[best], ids[best + 1])
    return count


@njit(**INNER)
def merge_long(ids, count, merges):
    """The same for many ids, in time that grows with n log n: the ids are a linked list, the pairs
    lie in a heap as rank << 32 | place.
    """
    after, before = np.arange(1, count + 1), np.arange(-1, count - 1)
    heap, size = np.empty(3 * count, np.int64), 0
    for i in range(count - 1):
        size = _push(heap, size, _value(merges, ids[i], ids[i + 1]), i)
    while size:
        rank, i = heap[0] >> 32, heap[0] & 0xFFFFFFFF
        size = _pop(heap, size)
        gone = after[i]
        if ids[i] < 0 or gone == count:
            continue
        value = _value(merges, ids[i], ids[gone])
        if value >> 32 != rank:
            continue  # a merge since has changed one of the two
        ids[i], ids[gone] = value & 0xFFFFFFFF, -1
        after[i] = after[gone]
        if after[i] < count:
            before[after[i]] = i
            size = _push(heap, size, _value(merges, ids[i], ids[after[i]]), i)
        if before[i] >= 0:
            size = _push(heap, size, _value(merges, ids[before[i]], ids[i]), before[i])
    left = 0
    for i in range(count):
        if ids[i] >= 0:
            ids[left] = ids[i]
            left += 1
    return left


@njit(**INNER)
def _push(heap, size, value, place):
    """Put a pair into the heap if a merge joins it; the heap's new size."""
    if value == _NONE:
        return size
    entry, i = (value >> 32) << 32 | place, size
    while i > 0 and heap[(i - 1) // 2] > entry:
        heap[i] = heap[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i] = entry
    return size + 1


@njit(**INNER)
def _pop(heap, size):
    """Take the smallest entry out of the heap; the heap's new size."""
    size -= 1
    entry, i = heap[size], 0
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry
    return size


@njit(**INNER)
def _value(merges, left, right):
    key = int64(left) << 32 | int64(right)
    slot = slot_of(merges.keys, key)
    return merges.values[slot] if merges.keys[slot] == key else _NONE

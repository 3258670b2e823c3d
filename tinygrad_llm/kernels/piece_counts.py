"""The compiled twin of `count_pieces` in text/bpe_training.py: pieces cut and counted in UTF-8."""

import numpy as np
from numba import njit
from numpy import int64, uint64

from tinygrad_llm.kernels.bpe import PADDING
from tinygrad_llm.kernels.compiling import INNER, Compiled
from tinygrad_llm.kernels.pieces import next_piece
from tinygrad_llm.kernels.words import MIX, lent


def count_pieces(text, classes, kind):
    """(starts, ends, counts) of the different pieces of a text in bytes, in the order in which they
    first come.
    """
    count = len(text)
    found = np.empty((count, 3), np.int64)
    slots = np.zeros(1 << max(count.bit_length(), 4), np.int64)
    padded = np.frombuffer(text + PADDING, np.uint8)
    number = _count_pieces(padded, count, classes, kind, slots, found)
    return found[:number].T


@Compiled
def _count_pieces(text, end, classes, kind, slots, found):
    text, classes, slots, found = lent(text), lent(classes), lent(slots), lent(found)
    position, number, mask = 0, 0, slots.size - 1
    while position < end:
        stop = next_piece(text, position, end, classes, kind)
        size, code = stop - position, uint64(stop - position)
        for i in range(position, stop):
            code = (code ^ uint64(text[i])) * MIX
        slot = int64(code >> uint64(32)) & mask
        while slots[slot]:
            entry = slots[slot] - 1
            start = found[entry, 0]
            if found[entry, 1] - start == size and _same(text, start, position, size):
                found[entry, 2] += 1
                break
            slot = (slot + 1) & mask
        else:
            found[number, 0], found[number, 1], found[number, 2] = position, stop, 1
            number += 1
            slots[slot] = number
        position = stop
    return number


@njit(**INNER)
def _same(text, a, b, size):
    for i in range(size):
        if text[a + i] != text[b + i]:
            return False
    return True

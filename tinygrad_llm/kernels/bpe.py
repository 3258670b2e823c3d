"""The compiled twin of text/bpe.py: UTF-8 in, ids out, one pass, and words met before looked up."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import int64, uint64

from tinygrad_llm.kernels.compiling import INNER, Compiled
from tinygrad_llm.kernels.merging import Merges, merge, merge_long
from tinygrad_llm.kernels.pieces import next_piece
from tinygrad_llm.kernels.words import MIX, first_bytes, lent, word_at

LONGEST = 64  # bytes of a piece that is merged without a heap
_WORDS = 4  # of 8 bytes each: pieces that fit are remembered
PADDING = bytes(8 * _WORDS)  # behind the text, so that whole words can be read
_AT_ONCE = 1 << 22  # bytes of text in one call, so that Ctrl-C is heard soon
_ENTRIES = 1 << 15  # pieces that are remembered
_SIZE, _COUNT, _IDS, _FEW = 8, 9, 10, 6  # an entry as 16 numbers of 4 bytes; ids that fit in it


class Memory(NamedTuple):
    """Pieces and their ids. An entry, which fills a cache line: the words of a piece, its size (0
    for a free entry), how many ids it has, and these ids, or their row in `known` if they are many.
    used: how many entries there are. ids, pairs: room to merge in.
    """

    entries: np.ndarray
    known: np.ndarray
    used: np.ndarray
    ids: np.ndarray
    pairs: np.ndarray


def new_memory():
    """Memory for pieces that knows none."""
    return Memory(
        np.zeros((2 * _ENTRIES, 16), np.int32),
        np.empty((_ENTRIES, 8 * _WORDS), np.int32),
        np.zeros(1, np.int64),
        np.empty(LONGEST, np.int32),
        np.empty(LONGEST, np.int64),
    )


def encode(text, ends, classes, kind, merges, byte_ids, memory):
    """(ids of all texts, how many of them belong to each).

    text: bytes, all texts one after another; ends: int64, where each of them ends.
    """
    text = np.frombuffer(text + PADDING, np.uint8)
    out, counts = np.empty(len(text), np.int32), np.zeros(len(ends), np.int64)
    place = np.zeros(3, np.int64)  # the text that comes next, the byte, the id
    while place[0] < len(ends):
        _encode(text, ends, classes, kind, merges, byte_ids, memory, out, counts, place)
    return out[: place[2]], counts


@Compiled
def _encode(text, ends, classes, kind, merges, byte_ids, memory, out, counts, place):
    text, classes, byte_ids, out = lent(text), lent(classes), lent(byte_ids), lent(out)
    merges = Merges(lent(merges.keys), lent(merges.values))
    memory = Memory(
        lent(memory.entries),
        lent(memory.known),
        lent(memory.used),
        lent(memory.ids),
        lent(memory.pairs),
    )
    index, position, written = place
    limit = position + _AT_ONCE
    while index < ends.size:
        end, before = ends[index], written
        while position < end and position < limit:
            stop = next_piece(text, position, end, classes, kind)
            if stop - position == 1:
                out[written] = byte_ids[text[position]]
                written += byte_ids[text[position]] >= 0
            elif stop - position <= 8 * _WORDS:
                written = _remembered(text, position, stop, merges, byte_ids, memory, out, written)
            elif stop - position <= LONGEST:
                count = _merged(text, position, stop - position, merges, byte_ids, memory)
                written = _write(memory.ids, count, out, written)
            else:
                ids = np.empty(stop - position, np.int32)
                count = _ids_of_bytes(text, position, stop - position, byte_ids, ids)
                written = _write(ids, merge_long(ids, count, merges), out, written)
            position = stop
        counts[index] += written - before
        if position < end:
            break
        index += 1
    place[0], place[1], place[2] = index, position, written


@njit(**INNER)
def _remembered(text, start, stop, merges, byte_ids, memory, out, written):
    """Write the ids of a piece of up to _WORDS words: looked up, or made and remembered."""
    size = stop - start
    place = text.ctypes.data + start
    first, second = first_bytes(word_at(place), size), uint64(0)
    code = (first ^ uint64(size)) * MIX
    if size > 8:
        second = first_bytes(word_at(place + 8), size - 8)
        code = (code ^ (code >> uint64(29)) ^ second) * MIX
        for i in range(16, size, 8):
            code = (code ^ (code >> uint64(29)) ^ first_bytes(word_at(place + i), size - i)) * MIX
    entries, mask = memory.entries, len(memory.entries) - 1
    entry = int64(code >> uint64(32)) & mask
    while entries[entry, _SIZE]:
        if entries[entry, _SIZE] == size and _same(entries, entry, first, second, place, size):
            count = int64(entries[entry, _COUNT])
            if count <= _FEW:
                for i in range(count):
                    out[written + i] = entries[entry, _IDS + i]
                return written + count
            return _write(memory.known[entries[entry, _IDS]], count, out, written)
        entry = (entry + 1) & mask
    count = _merged(text, start, size, merges, byte_ids, memory)
    _remember(place, size, count, entry, memory)
    return _write(memory.ids, count, out, written)


@njit(**INNER)
def _same(entries, entry, first, second, place, size):
    """Whether an entry of the right size has the piece's words."""
    words = entries.ctypes.data + entry * 64
    if word_at(words) != first or word_at(words + 8) != second:
        return False
    for i in range(16, size, 8):
        if word_at(words + i) != first_bytes(word_at(place + i), size - i):
            return False
    return True


@njit(**INNER)
def _write(ids, count, out, written):
    for i in range(count):
        out[written + i] = ids[i]
    return written + count


@njit(**INNER)
def _remember(place, size, count, entry, memory):
    """Keep the ids of a piece in a free entry; when the memory is full, forget everything first."""
    number, entries = memory.used[0], memory.entries
    if number == len(memory.known):
        entries[:, _SIZE] = 0
        memory.used[0] = 0
        return
    for i in range(0, 8 * _WORDS, 8):
        word = first_bytes(word_at(place + i), size - i) if i < size else uint64(0)
        entries[entry, i // 4] = int64(word & uint64(0xFFFFFFFF))
        entries[entry, i // 4 + 1] = int64(word >> uint64(32))
    entries[entry, _SIZE], entries[entry, _COUNT] = size, count
    ids = entries[entry, _IDS:] if count <= _FEW else memory.known[number]
    for i in range(count):
        ids[i] = memory.ids[i]
    if count > _FEW:
        entries[entry, _IDS] = number
    memory.used[0] += 1


@njit(**INNER)
def _merged(text, start, size, merges, byte_ids, memory):
    """Merge the bytes of a piece in memory.ids; how many ids are left."""
    count = _ids_of_bytes(text, start, size, byte_ids, memory.ids)
    return merge(memory.ids, memory.pairs, count, merges)


@njit(**INNER)
def _ids_of_bytes(text, start, size, byte_ids, ids):
    """Write the id of each byte but for those that the vocabulary lacks, which is -1; how many."""
    count = 0
    for i in range(start, start + size):
        ids[count] = byte_ids[text[i]]
        count += byte_ids[text[i]] >= 0
    return count

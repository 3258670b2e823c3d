"""The compiled twin of text/bpe.py: UTF-8 in, ids out, one pass, and words met before looked up.

Arrays of a fixed size are hash tables with open addressing: a key's place, or the next free one.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import int64, uint64

from tinygrad_llm.kernels.compiling import INNER, Compiled
from tinygrad_llm.kernels.pieces import next_piece
from tinygrad_llm.kernels.words import first_bytes, lent, word_at

LONGEST = 64  # bytes of a piece that is merged without a heap
_WORDS = 4  # of 8 bytes each: pieces that fit are remembered
PADDING = bytes(8 * _WORDS)  # behind the text, so that whole words can be read
_AT_ONCE = 1 << 22  # bytes of text in one call, so that Ctrl-C is heard soon
_ENTRIES = 1 << 15  # pieces that are remembered
_SIZE, _COUNT, _IDS, _FEW = 8, 9, 10, 6  # an entry as 16 numbers of 4 bytes; ids that fit in it
_NONE = np.iinfo(np.int64).max  # the value of a pair that no merge joins
_MIX = uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth, volume 3, section 6.4


class Merges(NamedTuple):
    """keys: left << 32 | right, or -1; values: rank << 32 | the id that the two become."""

    keys: np.ndarray
    values: np.ndarray


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


def merges_of(pairs, ranks, made):
    """The table of the pairs (M, 2), each with its rank and the id that it becomes, (M,) each."""
    size = 1 << max(int(np.ceil(np.log2(max(len(pairs), 1)))) + 1, 4)
    table = Merges(np.full(size, -1, np.int64), np.zeros(size, np.int64))
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    values = np.asarray(ranks, np.int64) << 32 | np.asarray(made, np.int64)
    _fill(table, pairs[:, 0] << 32 | pairs[:, 1], values)
    return table


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
def _fill(table, keys, values):
    for key, value in zip(keys, values):
        slot = slot_of(table.keys, key)
        table.keys[slot], table.values[slot] = key, value


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
                written = _merge_long(text, position, stop, merges, byte_ids, out, written)
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
    code = (first ^ uint64(size)) * _MIX
    if size > 8:
        second = first_bytes(word_at(place + 8), size - 8)
        code = (code ^ (code >> uint64(29)) ^ second) * _MIX
        for i in range(16, size, 8):
            code = (code ^ (code >> uint64(29)) ^ first_bytes(word_at(place + i), size - i)) * _MIX
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
def _merge_long(text, start, stop, merges, byte_ids, out, written):
    """The same for a long piece: ids in a linked list, pairs in a heap of rank << 32 | place."""
    ids = np.empty(stop - start, np.int32)
    count = _ids_of_bytes(text, start, stop - start, byte_ids, ids)
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
    for i in range(count):
        if ids[i] >= 0:
            out[written] = ids[i]
            written += 1
    return written


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


@njit(**INNER)
def slot_of(keys, key):
    """Where a key lies in a table, or the free place where it would."""
    mask = keys.size - 1
    slot = int64((uint64(key) * _MIX) >> uint64(32)) & mask
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & mask
    return slot

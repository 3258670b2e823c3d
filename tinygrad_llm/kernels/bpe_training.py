"""The compiled twin of text/bpe_training.py: pieces counted over UTF-8, merges learned in arrays.

The symbols of all pieces are one linked list. Each pair of neighbours keeps its count and a list of
the places where it was made, from left to right; a place that a merge has changed since is passed
over when its turn comes. A heap holds the pairs with counts that may be too high, never too low.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import int64, uint64

from tinygrad_llm.kernels.bpe import PADDING
from tinygrad_llm.kernels.compiling import INNER, Compiled
from tinygrad_llm.kernels.pieces import next_piece
from tinygrad_llm.kernels.words import MIX, lent, slot_of

_END = -1
_NODES, _HEAP, _FRESH = range(3)  # what State.used counts


class State(NamedTuple):
    """What learning works on; N symbols.

    symbols, after, before, weights (N,): a symbol or -1, its neighbours' places, and how often its
    piece occurs. keys (left << 32 | right, or -1), counts, first, last: a hash table of pairs with
    the ends of their lists. places, links: a node of a list. heap_counts, heap_keys: the heap.
    fresh: slots of pairs that the heap does not know yet. used: nodes, heap entries, fresh slots.
    """

    symbols: np.ndarray
    after: np.ndarray
    before: np.ndarray
    weights: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    last: np.ndarray
    places: np.ndarray
    links: np.ndarray
    heap_counts: np.ndarray
    heap_keys: np.ndarray
    fresh: np.ndarray
    used: np.ndarray


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


def new_state(symbols, ends, weights):
    """The state before the first merge. symbols: int32, of all pieces; ends: where each piece ends;
    weights: how often each occurs.
    """
    count = len(symbols)
    pairs = 3 * count + 1  # at most: where a merge makes two pairs, a symbol is gone
    table = 1 << max(pairs.bit_length(), 4)
    lengths = np.diff(ends, prepend=0)
    state = State(
        symbols.astype(np.int32),
        np.arange(1, count + 1),
        np.arange(-1, count - 1),
        np.repeat(np.asarray(weights, np.int64), lengths),
        np.full(table, -1, np.int64),
        np.zeros(table, np.int64),
        np.full(table, _END, np.int64),
        np.full(table, _END, np.int64),
        *(np.empty(pairs, np.int64) for _ in range(5)),
        np.zeros(3, np.int64),
    )
    whole = np.asarray(ends)[lengths > 0]
    state.after[whole - 1] = _END
    state.before[whole[:-1]] = _END
    _start(state)
    return state


def learn(state, number, least, next_token):
    """Up to `number` merges of pairs that occur `least` times, (M, 2) int64, into the ids from
    next_token on.
    """
    pairs = np.empty((number, 2), np.int64)
    return pairs[: _learn(state, pairs, least, next_token)]


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


@Compiled
def _start(state):
    for i in range(state.symbols.size):
        if state.after[i] != _END:
            _add(state, i)
    _push_fresh(state)


@Compiled
def _learn(state, pairs, least, next_token):
    made = 0
    while made < len(pairs):
        slot = _pop_most_frequent(state, least)
        if slot < 0:
            break
        key = state.keys[slot]
        pairs[made, 0], pairs[made, 1] = key >> 32, key & 0xFFFFFFFF
        _merge(state, slot, next_token + made)
        made += 1
    return made


@njit(**INNER)
def _pop_most_frequent(state, least):
    """The slot of the pair that occurs most often, -1 where none occurs `least` times; of equals,
    the one with the smaller ids.
    """
    while state.used[_HEAP]:
        count, key = state.heap_counts[0], state.heap_keys[0]
        _pop(state)
        slot = slot_of(state.keys, key)
        if count == state.counts[slot]:
            return slot if count >= least else -1
        if state.counts[slot] > 0:
            _push(state, state.counts[slot], key)
    return -1


@njit(**INNER)
def _merge(state, slot, token):
    """Put `token` in the place of a pair wherever it stands, from left to right."""
    left, right = state.keys[slot] >> 32, state.keys[slot] & 0xFFFFFFFF
    node, state.counts[slot] = state.first[slot], 0
    while node != _END:
        i = state.places[node]
        node = state.links[node]
        gone = state.after[i]
        if state.symbols[i] != left or gone == _END or state.symbols[gone] != right:
            continue
        before, after = state.before[i], state.after[gone]
        if before != _END:
            _lose(state, before)
        if after != _END:
            _lose(state, gone)
            state.before[after] = i
        state.symbols[i], state.symbols[gone], state.after[i] = token, -1, after
        if before != _END:
            _add(state, before)
        if after != _END:
            _add(state, i)
    _push_fresh(state)


@njit(**INNER)
def _push_fresh(state):
    for slot in state.fresh[: state.used[_FRESH]]:
        _push(state, state.counts[slot], state.keys[slot])
    state.used[_FRESH] = 0


@njit(**INNER)
def _key(state, i):
    return int64(state.symbols[i]) << 32 | int64(state.symbols[state.after[i]])


@njit(**INNER)
def _lose(state, i):
    """One pair less, that of the symbol at i and the one after it."""
    state.counts[slot_of(state.keys, _key(state, i))] -= state.weights[i]


@njit(**INNER)
def _add(state, i):
    """One more pair, that of the symbol at i and the one after it."""
    key = _key(state, i)
    slot, node = slot_of(state.keys, key), state.used[_NODES]
    state.keys[slot] = key
    state.counts[slot] += state.weights[i]
    state.places[node], state.links[node] = i, _END
    if state.first[slot] == _END:
        state.first[slot] = node
        state.fresh[state.used[_FRESH]] = slot
        state.used[_FRESH] += 1
    else:
        state.links[state.last[slot]] = node
    state.last[slot] = node
    state.used[_NODES] += 1


@njit(**INNER)
def _comes_before(state, a_count, a_key, i):
    count, key = state.heap_counts[i], state.heap_keys[i]
    return a_count > count or (a_count == count and a_key < key)


@njit(**INNER)
def _move(state, i, j):
    state.heap_counts[j], state.heap_keys[j] = state.heap_counts[i], state.heap_keys[i]


@njit(**INNER)
def _push(state, count, key):
    i = state.used[_HEAP]
    state.used[_HEAP] += 1
    while i > 0 and _comes_before(state, count, key, (i - 1) // 2):
        parent = (i - 1) // 2
        _move(state, parent, i)
        i = parent
    state.heap_counts[i], state.heap_keys[i] = count, key


@njit(**INNER)
def _pop(state):
    state.used[_HEAP] -= 1
    size, i = state.used[_HEAP], 0
    count, key = state.heap_counts[size], state.heap_keys[size]
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size:
            other = state.heap_counts[child + 1], state.heap_keys[child + 1]
            child += _comes_before(state, other[0], other[1], child)
        if _comes_before(state, count, key, child):
            break
        _move(state, child, i)
        i = child
    state.heap_counts[i], state.heap_keys[i] = count, key

"""The compiled twin of `learn_merges` in text/bpe_training.py: merges learned in arrays.

The symbols of all pieces are one linked list. Each pair of neighbours keeps its count and a list of
the places where it was made, from left to right; a place that a merge has changed since is passed
over when its turn comes. A heap holds the pairs with counts that may be too high, never too low.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import int64

from tinygrad_llm.kernels.compiling import INNER, Compiled
from tinygrad_llm.kernels.words import slot_of

_END = -1
_NODES, _HEAP, _FRESH, _PAIRS = range(4)  # what State.used counts
_FIRST_TABLE = 1 << 10


class State(NamedTuple):
    """What learning works on; N symbols, places of them and of nodes as int32.

    symbols, after, before, weights (N,): a symbol or -1, its neighbours' places, and how often its
    piece occurs. keys (left << 32 | right, or -1), counts, first, last: a hash table of pairs with
    the ends of their lists; at most half of it is used. places, links: a node of a list.
    heap_counts, heap_keys: the heap. fresh: slots of pairs that the heap does not know yet. used:
    nodes, heap entries, fresh slots, pairs.
    """

    symbols: np.ndarray
    after: np.ndarray
    before: np.ndarray
    weights: np.ndarray
    places: np.ndarray
    links: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    last: np.ndarray
    heap_counts: np.ndarray
    heap_keys: np.ndarray
    fresh: np.ndarray
    used: np.ndarray


class Learner:
    """Learns merges from pieces, some at a time.

    symbols: int32, those of all pieces; ends: where each piece ends; weights: how often each
    occurs.
    """

    def __init__(self, symbols, ends, weights):
        count = len(symbols)
        after, before = np.arange(1, count + 1, dtype=np.int32), np.arange(-1, count - 1)
        whole = np.asarray(ends)[np.diff(ends, prepend=0) > 0]
        after[whole - 1] = before[whole[:-1]] = _END
        self._state = State(
            symbols.astype(np.int32),
            after,
            before.astype(np.int32),
            np.repeat(np.asarray(weights, np.int64), np.diff(ends, prepend=0)),
            # at most so many nodes: where a merge makes two pairs, a symbol is gone
            *(np.empty(3 * count, np.int32) for _ in range(2)),
            *_new_table(_FIRST_TABLE),
            np.zeros(4, np.int64),
        )
        counted = 0
        while (counted := _start(self._state, counted)) < count:
            self._grow()

    def learn(self, number, least, next_token):
        """Up to `number` merges of pairs that occur `least` times, (M, 2) int64, into the ids from
        next_token on.
        """
        pairs, made, full = np.empty((number, 2), np.int64), 0, True
        while full:
            made, full = _learn(self._state, pairs, made, least, next_token)
            if full:
                self._grow()
        return pairs[:made]

    def _grow(self):
        """Twice the table and the heap."""
        old = self._state
        self._state = State(*old[:6], *_new_table(2 * len(old.keys)), old.used)
        _move_table(old, self._state)


def _new_table(size):
    """The arrays of State from keys to fresh."""
    return (
        np.full(size, -1, np.int64),
        np.zeros(size, np.int64),
        *(np.full(size, _END, np.int32) for _ in range(2)),
        *(np.empty(size // 2, np.int64) for _ in range(2)),
        np.empty(size // 2, np.int32),
    )


@Compiled
def _start(state, i):
    """Count the pairs from the symbol at i on; where it ended, for want of room or of symbols."""
    while i < state.symbols.size and _has_room(state, 1):
        if state.after[i] != _END:
            _add(state, i)
        i += 1
    state.used[_FRESH] = 0  # while counts still grow, the heap must not know them
    for slot in range(state.keys.size if i == state.symbols.size else 0):
        if state.keys[slot] != -1:
            _push(state, state.counts[slot], state.keys[slot])
    return i


@Compiled
def _move_table(old, new):
    for i in range(old.used[_HEAP]):
        new.heap_counts[i], new.heap_keys[i] = old.heap_counts[i], old.heap_keys[i]
    for slot in range(old.keys.size):
        if old.keys[slot] != -1:
            place = slot_of(new.keys, old.keys[slot])
            new.keys[place], new.counts[place] = old.keys[slot], old.counts[slot]
            new.first[place], new.last[place] = old.first[slot], old.last[slot]


@njit(**INNER)
def _has_room(state, pairs):
    """Whether the table takes so many pairs more."""
    return state.used[_PAIRS] + pairs <= state.fresh.size


@Compiled
def _learn(state, pairs, made, least, next_token):
    """(merges made so far, whether the table has to grow before the next)."""
    while made < len(pairs):
        slot = _pop_most_frequent(state, least)
        if slot < 0:
            break
        key, token = state.keys[slot], next_token + made
        if not _has_room(state, min(2 * state.counts[slot], 2 * token + 1)):
            _push(state, state.counts[slot], key)
            return made, True
        pairs[made, 0], pairs[made, 1] = key >> 32, key & 0xFFFFFFFF
        _merge(state, slot, token)
        made += 1
    return made, False


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
    state.used[_PAIRS] += state.keys[slot] != key
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

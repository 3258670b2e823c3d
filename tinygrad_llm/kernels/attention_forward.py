"""Attention's forward pass for a share of the heads: COLUMNS queries at a time, side by side.

Scores lie transposed, (keys, COLUMNS queries): the maximum and the sum over the keys go vector by
vector, and the weights are, as they lie, a packed operand of the product with the values.
"""

import numpy as np
from numba import njit
from numpy import float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS,
    FLOAT_BYTES,
    ROWS,
    TILE_ROW,
    first_query,
    keep_factor,
    keys_seen,
    masked_out,
    numbers_at,
    pack_columns,
    pack_last_rows,
    pack_rows_wide,
    packed_size,
    places_of,
    problem_of,
    product,
    product_of_rows,
    transpose,
)
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import Worker, matrix, share
from tinygrad_llm.kernels.polynomials import exp_of_negative
from tinygrad_llm.kernels.simd import pointer
from tinygrad_llm.kernels.vectors import larger, load, only, spread, store

_KEYS = 256  # in a block of the product with the values: its weights stay in the nearest cache
_ZERO, _ONE, _LOWEST = map(float32, (0, 1, -np.inf))
# Places in scratch memory: a head's last keys and its values, packed; what COLUMNS queries need.
_LAST_K, _V, _Q, _WEIGHTS, _TOTALS, _OUTPUT = range(6)


def sizes(keys, width):
    """Numbers of scratch memory that one thread needs at each place."""
    return [
        packed_size(ROWS, width),
        packed_size(width, keys),
        width * COLUMNS,
        (keys + ROWS) * COLUMNS,
        2 * COLUMNS,
        (width + ROWS) * COLUMNS,
    ]


@Worker
def heads(arguments, worker, workers):
    """One worker's heads; or its part of each head's queries, where heads do not divide evenly.

    Arguments: the problem (2), q, k, v, mask, y, statistics, scratch memory and its places.
    statistics (B, H, T, 2): of each row the largest score, and 1 / sum exp(score - largest).
    """
    problem, room = problem_of(arguments), places_of(arguments, 8, worker)
    count, groups = problem.batch * problem.heads, problem.groups
    parts = 1 if count % workers == 0 else workers
    first, end = share(count * parts, worker, workers)
    packed = -1
    for task in range(first, end):
        head, part = task // parts, task % parts
        b, h = head // problem.heads, head % problem.heads
        k, v = matrix(arguments, 3, b, h // groups), matrix(arguments, 4, b, h // groups)
        if packed != head // groups:
            packed = head // groups
            pack_last_rows(room[_LAST_K], k, problem.keys, problem.width)
            pack_columns(room[_V], v, problem.keys, problem.width)
        q, mask = matrix(arguments, 2, b, h), matrix(arguments, 5, b, h)
        y, statistics = matrix(arguments, 6, b, h), matrix(arguments, 7, b, h)
        for t in range(part * COLUMNS, problem.queries, parts * COLUMNS):
            _attend(problem, q, k, mask, room, head, t)
            _write(problem, room, y, statistics, t)


@njit(**INNER)
def _attend(problem, q, k, mask, room, head, t):
    """The sums over the values for the COLUMNS queries from the t-th on."""
    width, weights = problem.width, room[_WEIGHTS]
    seen = keys_seen(problem, min(t + COLUMNS, problem.queries) - 1)
    pack_rows_wide(room[_Q], q, t, problem.queries, width)
    for d in range(width):
        store(load(room[_Q] + d * TILE_ROW) * problem.scale, room[_Q] + d * TILE_ROW)
    for s in range(0, seen, ROWS):
        scores = weights + s * TILE_ROW
        product_of_rows(k, s, problem.keys, room[_LAST_K], room[_Q], width, scores)
    _mask(problem, weights, mask, t, seen)
    _softmax(weights, seen, room[_TOTALS])
    if problem.dropping:
        _drop(problem, numbers_at(weights, seen * COLUMNS), head, t)
    for s in range(0, seen, _KEYS):
        depth = min(_KEYS, seen - s)
        for d in range(0, width, ROWS):
            values = room[_V] + (d * problem.keys + s * ROWS) * FLOAT_BYTES
            product(
                values, weights + s * TILE_ROW, depth, room[_OUTPUT] + d * TILE_ROW, TILE_ROW, s > 0
            )


@njit(**INNER)
def _mask(problem, scores, mask, t, seen):
    """-inf where a query may not see a key."""
    if problem.causal:
        for s in range(keys_seen(problem, t), seen):
            place = scores + s * TILE_ROW
            store(only(load(place), first_query(problem, s) - t, COLUMNS, _LOWEST), place)
    if problem.masked:
        numbers = pointer(scores)
        for s in range(seen):
            for c in range(min(COLUMNS, problem.queries - t)):
                if masked_out(mask, t + c, s):
                    numbers[s * COLUMNS + c] = _LOWEST


@njit(fastmath={"contract"}, **INNER)  # attention_step.py sums in the same order
def _softmax(scores, seen, totals):
    """exp(score - largest) in place of the scores; totals: each query's largest score, and sum."""
    largest = spread(_LOWEST)
    for s in range(seen):
        largest = larger(largest, load(scores + s * TILE_ROW))
    store(largest, totals)
    numbers = pointer(totals)
    for c in range(COLUMNS):
        numbers[c] = _ZERO if numbers[c] == _LOWEST else numbers[c]  # a query that sees no key
    largest, total = load(totals), spread(_ZERO)
    for s in range(seen):
        weight = exp_of_negative(load(scores + s * TILE_ROW) - largest)
        store(weight, scores + s * TILE_ROW)
        total = total + weight
    store(total, totals + TILE_ROW)


@njit(**INNER)
def _drop(problem, weights, head, t):
    for i in range(weights.size):
        weights[i] *= keep_factor(problem, head, t + i % COLUMNS, i // COLUMNS)


@njit(**INNER)
def _write(problem, room, y, statistics, t):
    """The finished rows of y and of statistics; a row that saw no key is 0."""
    count = min(COLUMNS, problem.queries - t)
    totals = pointer(room[_TOTALS])
    for c in range(COLUMNS):
        total = totals[COLUMNS + c]
        totals[COLUMNS + c] = _ZERO if total == _ZERO else _ONE / total
    for c in range(count):
        row = pointer(statistics[0] + (t + c) * statistics[1])
        row[0], row[1] = totals[c], totals[COLUMNS + c]
    seen, inverse = keys_seen(problem, t + count - 1), load(room[_TOTALS] + TILE_ROW)
    for d in range(problem.width):
        place = room[_OUTPUT] + d * TILE_ROW
        store(load(place) * inverse if seen else spread(_ZERO), place)
    transpose(room[_OUTPUT], y, t, count, problem.width, False)

"""Attention's forward pass for a share of the heads: COLUMNS queries at a time, side by side in vector registers.

Scores lie transposed, (keys, COLUMNS queries): the maximum and the sum over the keys then go vector by vector,
and the weights are, as they lie, the packed operand of the product with the values.
"""

import numpy as np
from numba import njit
from numpy import bool_, float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS, FLOAT_BYTES, ROWS, TILE_ROW, columns_of, keep_factor, keys_seen, matrix_at,
    pack_all_rows, pack_columns, packed_size, places_of, problem_of, product, rows_of,
)
from tinygrad_llm.kernels.compiling import FASTMATH, INNER
from tinygrad_llm.kernels.polynomials import exp
from tinygrad_llm.kernels.parallel import Worker, array4, share
from tinygrad_llm.kernels.vectors import larger, load, spread, store

_KEYS = 256  # in a block of the product with the values: its weights stay in the first-level cache
_ZERO, _ONE, _LOWEST = float32(0), float32(1), float32(-np.inf)
# Places of a thread's scratch memory: the packed keys and values of a head, then what COLUMNS queries need.
_K, _V, _Q, _WEIGHTS, _TOTALS, _OUTPUT = range(6)


def sizes(keys, width):
    """Numbers of scratch memory that one thread needs at each place."""
    return [packed_size(keys, width), packed_size(width, keys), width * COLUMNS, (keys + ROWS) * COLUMNS,
            2 * COLUMNS, (width + ROWS) * COLUMNS]


@Worker
def heads(arguments, worker, workers):
    """One worker's share of the heads, or of the queries of every head where heads do not divide evenly.

    statistics (B, H, T, 2): the largest score of each row, and 1 / sum of exp(score - largest).
    """
    problem, room = problem_of(arguments), places_of(arguments, 8, worker)
    q, k, v = array4(arguments, 2, float32), array4(arguments, 3, float32), array4(arguments, 4, float32)
    mask, y, statistics = array4(arguments, 5, bool_), array4(arguments, 6, float32), array4(arguments, 7, float32)
    batch, count, group = q.shape[0], q.shape[1], q.shape[1] // k.shape[1]
    parts = 1 if batch * count % workers == 0 else workers
    first, end = share(batch * count * parts, worker, workers)
    packed = -1
    for task in range(first, end):
        head, part = task // parts, task % parts
        b, h = head // count, head % count
        if packed != head // group:
            packed = head // group
            pack_all_rows(room[_K], rows_of(k[b, h // group]), problem.width)
            pack_all_rows(room[_V], columns_of(v[b, h // group]), problem.keys)
        for t in range(part * COLUMNS, problem.queries, parts * COLUMNS):
            _attend(problem, q[b, h], mask[b, h], y[b, h], statistics[b, h], room, head, t)


@njit(**INNER)
def _attend(problem, q, mask, y, statistics, room, head, t):
    """y of the COLUMNS queries from the t-th on."""
    width, count = problem.width, min(COLUMNS, problem.queries - t)
    seen = keys_seen(problem, t + count - 1)
    pack_columns(room[_Q], rows_of(q), t, 0, width)
    _scale(room[_Q], problem.scale, width)
    for s in range(0, seen, ROWS):
        product(room[_K] + s * width * FLOAT_BYTES, room[_Q], width, room[_WEIGHTS] + s * TILE_ROW, TILE_ROW, 0)
    weights, totals = matrix_at(room[_WEIGHTS], seen, COLUMNS), matrix_at(room[_TOTALS], 2, COLUMNS)
    _mask(problem, weights, mask, t, count)
    _softmax(room[_WEIGHTS], seen, room[_TOTALS], totals[0])
    if problem.dropping:
        _drop(problem, weights, head, t)
    for s in range(0, seen, _KEYS):
        for d in range(0, width, ROWS):
            product(room[_V] + (d * problem.keys + s * ROWS) * FLOAT_BYTES, room[_WEIGHTS] + s * TILE_ROW,
                    min(_KEYS, seen - s), room[_OUTPUT] + d * TILE_ROW, TILE_ROW, s > 0)
    _write(matrix_at(room[_OUTPUT], width, COLUMNS), totals, seen, y[t:t + count], statistics[t:t + count])


@njit(**INNER)
def _scale(rows, scale, count):
    for i in range(count):
        store(load(rows + i * TILE_ROW) * scale, rows + i * TILE_ROW)


@njit(**INNER)
def _mask(problem, scores, mask, t, count):
    """-inf where a query may not see a key."""
    if problem.causal:
        for s in range(keys_seen(problem, t), len(scores)):
            for c in range(COLUMNS):
                if s >= keys_seen(problem, t + c):
                    scores[s, c] = _LOWEST
    if problem.masked:
        for s in range(len(scores)):
            for c in range(count):
                if not mask[t + c, s]:
                    scores[s, c] = _LOWEST


@njit(fastmath=FASTMATH, **INNER)
def _softmax(scores, seen, totals, largest):
    """exp(score - largest) in place of the scores; totals: the largest score and the sum of each query."""
    maximum = spread(_LOWEST)
    for s in range(seen):
        maximum = larger(maximum, load(scores + s * TILE_ROW))
    store(maximum, totals)
    for c in range(COLUMNS):
        largest[c] = _ZERO if largest[c] == _LOWEST else largest[c]  # a query that sees no key
    maximum, total = load(totals), spread(_ZERO)
    for s in range(seen):
        weight = exp(load(scores + s * TILE_ROW) - maximum)
        store(weight, scores + s * TILE_ROW)
        total = total + weight
    store(total, totals + TILE_ROW)


@njit(**INNER)
def _drop(problem, weights, head, t):
    for s in range(len(weights)):
        for c in range(COLUMNS):
            weights[s, c] *= keep_factor(problem, head, t + c, s)


@njit(**INNER)
def _write(output, totals, seen, y, statistics):
    """The finished rows of y; a row that saw no key is 0."""
    for c in range(len(y)):
        inverse = _ZERO if totals[1, c] == _ZERO else _ONE / totals[1, c]
        statistics[c, 0], statistics[c, 1] = totals[0, c], inverse
        for d in range(y.shape[1]):
            y[c, d] = output[d, c] * inverse if seen else _ZERO

"""Attention's backward pass for a share of the heads: the weights are made again, block by block.

Scores lie as panels (queries, COLUMNS keys): as they lie they are a packed operand of the products
that give dk and dv; transposed in small squares, of the product that gives dq.
"""

from numba import njit
from numpy import float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS,
    FLOAT_BYTES,
    ROWS,
    SLACK,
    TILE_ROW,
    first_query,
    keep_factor,
    keys_seen,
    masked_out,
    numbers_at,
    pack_columns,
    pack_columns_wide,
    pack_last_rows,
    pack_rows_wide,
    pack_square,
    packed_size,
    places_of,
    problem_of,
    product,
    product_of_rows,
    transpose,
    whole,
)
from tinygrad_llm.kernels.compiling import FASTMATH, INNER
from tinygrad_llm.kernels.parallel import Worker, matrix, share
from tinygrad_llm.kernels.polynomials import exp_of_negative
from tinygrad_llm.kernels.simd import pointer
from tinygrad_llm.kernels.vectors import load, only, spread, store

_QUERIES, _KEYS = 96 // ROWS * ROWS, 4 * COLUMNS  # in a block
_SQUARES = _KEYS * ROWS + SLACK  # the dscores of ROWS queries, transposed
_ZERO, _ONE = map(float32, (0, 1))
# Places in scratch memory: a head's packed operands and what is summed over its keys; a block's
# packed keys and what is summed over its queries; weights and their gradient (queries, COLUMNS).
_LAST_Q, _LAST_DY, _Q_COLUMNS, _DY_COLUMNS, _DQ, _DELTA = range(6)
_K_ROWS, _V_ROWS, _K_COLUMNS, _DK, _DV, _WEIGHTS, _DSCORES, _TRANSPOSED = range(6, 14)


def sizes(queries, width):
    """Numbers of scratch memory that one thread needs at each place."""
    rows, columns = packed_size(ROWS, width), packed_size(width, queries)
    tall, wide = width + ROWS, width + COLUMNS
    return [
        rows,
        rows,
        columns,
        columns,
        (queries + ROWS) * wide,
        queries,
        width * _KEYS,
        width * _KEYS,
        wide * _KEYS,
        tall * _KEYS,
        tall * _KEYS,
        _QUERIES * COLUMNS,
        _QUERIES * COLUMNS,
        _QUERIES // ROWS * _SQUARES,
    ]


@Worker
def heads(arguments, worker, workers):
    """One worker's share: whole key heads, each with the query heads that it serves.

    Arguments: the problem (2), q, k, v, mask, y, statistics, dy, dq, dk, dv, scratch memory and
    its places.
    """
    problem, room = problem_of(arguments), places_of(arguments, 12, worker)
    groups, count = problem.groups, problem.heads // problem.groups
    first, end = share(problem.batch * count, worker, workers)
    for task in range(first, end):
        b, g = task // count, task % count
        k, v = matrix(arguments, 3, b, g), matrix(arguments, 4, b, g)
        dk, dv = matrix(arguments, 10, b, g), matrix(arguments, 11, b, g)
        for i in range(groups):
            h = g * groups + i
            q, mask = matrix(arguments, 2, b, h), matrix(arguments, 5, b, h)
            y, dy = matrix(arguments, 6, b, h), matrix(arguments, 8, b, h)
            statistics = matrix(arguments, 7, b, h)[0]
            _pack_queries(problem, q, dy, y, room)
            for s in range(0, problem.keys, _KEYS):
                _pack_keys(problem, k, v, room, s)
                _visit_keys(problem, q, dy, mask, statistics, room, task * groups + i, s)
                _write_columns(problem, room[_DK], problem.scale, dk, s, i > 0)
                _write_columns(problem, room[_DV], _ONE, dv, s, i > 0)
            _write_rows(problem, room[_DQ], matrix(arguments, 9, b, h))


@njit(**INNER)
def _pack_queries(problem, q, dy, y, room):
    """The columns and last rows of q and dy, packed; delta = sum_d dy y of each query; dq = 0."""
    queries, width = problem.queries, problem.width
    pack_last_rows(room[_LAST_Q], q, queries, width)
    pack_last_rows(room[_LAST_DY], dy, queries, width)
    pack_columns(room[_Q_COLUMNS], q, queries, width)
    pack_columns(room[_DY_COLUMNS], dy, queries, width)
    delta = pointer(room[_DELTA])
    for t in range(queries):
        delta[t] = _dot(numbers_at(dy[0] + t * dy[1], width), numbers_at(y[0] + t * y[1], width))
    _clear(room[_DQ], (queries + ROWS) * whole(width, COLUMNS))


@njit(fastmath=FASTMATH, **INNER)
def _dot(a, b):
    total = _ZERO
    for d in range(a.size):
        total += a[d] * b[d]
    return total


@njit(**INNER)
def _clear(address, count):
    for i in range(0, count, COLUMNS):
        store(spread(_ZERO), address + i * FLOAT_BYTES)


@njit(**INNER)
def _pack_keys(problem, k, v, room, s):
    """The keys and values of the block from the s-th key on, and zeros for their dk and dv."""
    keys, width = min(_KEYS, problem.keys - s), problem.width
    for c in range(0, keys, COLUMNS):
        panel = c * width * FLOAT_BYTES
        pack_rows_wide(room[_K_ROWS] + panel, k, s + c, problem.keys, width)
        pack_rows_wide(room[_V_ROWS] + panel, v, s + c, problem.keys, width)
    for d in range(0, width, COLUMNS):
        pack_columns_wide(room[_K_COLUMNS] + d * _KEYS * FLOAT_BYTES, k, d, width, s, keys)
    _clear(room[_DK], whole(width, ROWS) * _KEYS)
    _clear(room[_DV], whole(width, ROWS) * _KEYS)


@njit(**INNER)
def _visit_keys(problem, q, dy, mask, statistics, room, head, s):
    """Show the block of keys to each query that may see one, a block of queries at a time."""
    keys = min(_KEYS, problem.keys - s)
    for t in range(first_query(problem, s) // _QUERIES * _QUERIES, problem.queries, _QUERIES):
        for c in range(0, keys, COLUMNS):
            _visit_panel(problem, q, dy, mask, statistics, room, head, t, s, c)
        _add_to_dq(problem, room, t, s, keys)


@njit(**INNER)
def _visit_panel(problem, q, dy, mask, statistics, room, head, t, s, c):
    """The queries of the block from the t-th on see COLUMNS keys, from the block's c-th on."""
    width, weights, dscores = problem.width, room[_WEIGHTS], room[_DSCORES]
    above = max(first_query(problem, s + c) - t, 0) // ROWS * ROWS  # rows above the diagonal
    count = min(_QUERIES, problem.queries - t) - above
    if count <= 0:
        return
    t = t + above
    queries, panel = problem.queries, c * width * FLOAT_BYTES
    for r in range(0, count, ROWS):
        place, keys = weights + r * TILE_ROW, room[_K_ROWS] + panel
        product_of_rows(q, t + r, queries, room[_LAST_Q], keys, width, place)
        place, values = dscores + r * TILE_ROW, room[_V_ROWS] + panel
        product_of_rows(dy, t + r, queries, room[_LAST_DY], values, width, place)
    _softmax(problem, weights, statistics, t, count)
    _mask(problem, weights, mask, t, s + c, count)
    delta = pointer(room[_DELTA] + t * FLOAT_BYTES)
    if problem.dropping:
        _drop(problem, pointer(weights), pointer(dscores), delta, head, t, s + c, count)
    else:
        _softmax_backward(weights, dscores, delta, count)
    for d in range(0, width, ROWS):
        columns = (d * problem.queries + t * ROWS) * FLOAT_BYTES
        place = (c * whole(width, ROWS) + d * COLUMNS) * FLOAT_BYTES
        product(room[_DY_COLUMNS] + columns, weights, count, room[_DV] + place, TILE_ROW, 1)
        product(room[_Q_COLUMNS] + columns, dscores, count, room[_DK] + place, TILE_ROW, 1)
    for r in range(0, count, ROWS):
        square = (above + r) // ROWS * _SQUARES + c * ROWS
        pack_square(room[_TRANSPOSED] + square * FLOAT_BYTES, dscores + r * TILE_ROW, count - r)


@njit(fastmath=FASTMATH, **INNER)
def _softmax(problem, scores, statistics, t, count):
    """The weights that forward made, in place of the scores."""
    saved = pointer(statistics + 2 * t * FLOAT_BYTES)
    for r in range(count):
        largest, inverse, place = saved[2 * r], saved[2 * r + 1], scores + r * TILE_ROW
        store(exp_of_negative(load(place) * problem.scale - largest) * inverse, place)


@njit(**INNER)
def _mask(problem, weights, mask, t, s, count):
    """0 where a query, from the t-th on, may not see a key, from the s-th on."""
    if problem.causal:
        for r in range(min(count, first_query(problem, s + COLUMNS) - t)):
            place = weights + r * TILE_ROW
            store(only(load(place), 0, keys_seen(problem, t + r) - s, _ZERO), place)
    if problem.masked:
        numbers = pointer(weights)
        for r in range(count):
            for c in range(min(COLUMNS, problem.keys - s)):
                if masked_out(mask, t + r, s + c):
                    numbers[r * COLUMNS + c] = _ZERO


@njit(fastmath=FASTMATH, **INNER)
def _softmax_backward(weights, dweights, delta, count):
    """dscores = weight (dweight - delta) in place of dweights."""
    for r in range(count):
        place = r * TILE_ROW
        dscore = load(weights + place) * (load(dweights + place) - delta[r])
        store(dscore, dweights + place)


@njit(**INNER)
def _drop(problem, weights, dweights, delta, head, t, s, count):
    """The same with dropout, which drops of weights and dweights what it dropped in forward."""
    for i in range(count * COLUMNS):
        factor = keep_factor(problem, head, t + i // COLUMNS, s + i % COLUMNS)
        dweights[i] = weights[i] * (dweights[i] * factor - delta[i // COLUMNS])
        weights[i] *= factor


@njit(**INNER)
def _add_to_dq(problem, room, t, s, keys):
    """dq += dscores k for the block; a tile of queries takes the keys that its last one sees."""
    wide = whole(problem.width, COLUMNS)
    for r in range(0, min(_QUERIES, problem.queries - t), ROWS):
        depth = min(keys_seen(problem, t + r + ROWS - 1) - s, keys)
        if depth > 0:
            dscores = room[_TRANSPOSED] + r // ROWS * _SQUARES * FLOAT_BYTES
            for d in range(0, wide, COLUMNS):
                columns = room[_K_COLUMNS] + d * _KEYS * FLOAT_BYTES
                place = room[_DQ] + ((t + r) * wide + d) * FLOAT_BYTES
                product(dscores, columns, depth, place, wide * FLOAT_BYTES, 1)


@njit(**INNER)
def _write_columns(problem, sums, scale, target, s, add):
    """The target's rows from the s-th on = or += scale times the panels (D, COLUMNS) of sums."""
    for c in range(0, min(_KEYS, problem.keys - s), COLUMNS):
        panel = sums + c * whole(problem.width, ROWS) * FLOAT_BYTES
        for d in range(problem.width):
            store(load(panel + d * TILE_ROW) * scale, panel + d * TILE_ROW)
        count = min(COLUMNS, problem.keys - s - c)
        transpose(panel, target, s + c, count, problem.width, add)


@njit(**INNER)
def _write_rows(problem, sums, dq):
    """dq from its padded sums."""
    wide = whole(problem.width, COLUMNS)
    for t in range(problem.queries):
        source = numbers_at(sums + t * wide * FLOAT_BYTES, wide)
        target = numbers_at(dq[0] + t * dq[1], problem.width)
        for d in range(problem.width):
            target[d] = source[d] * problem.scale

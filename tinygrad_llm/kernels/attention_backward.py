"""Attention's backward pass for a share of the heads: the weights are made again, block by block.

Scores lie as panels (queries, COLUMNS keys): as they lie they are the packed operand of the products that
give dk and dv; transposed in small squares they are that of dq.
"""

from numba import njit
from numpy import float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS, FLOAT_BYTES, ROWS, SLACK, TILE_ROW, keep_factor, keys_seen, masked_out, numbers_at,
    pack_columns, pack_rows, pack_square, pack_wide, packed_size, places_of, problem_of, product, transpose,
)
from tinygrad_llm.kernels.compiling import FASTMATH, INNER
from tinygrad_llm.kernels.parallel import Worker, matrix, share
from tinygrad_llm.kernels.polynomials import exp
from tinygrad_llm.kernels.simd import pointer
from tinygrad_llm.kernels.vectors import load, spread, store

_QUERIES, _KEYS = 96 // ROWS * ROWS, 4 * COLUMNS  # in a block
_SQUARES = _KEYS * ROWS + SLACK
_ZERO, _ONE = float32(0), float32(1)
# Places of a thread's scratch memory: a head's packed operands and what is summed over its keys; a block's
# packed keys and what is summed over its queries; weights and dscores (queries, COLUMNS).
_Q_ROWS, _DY_ROWS, _Q_COLUMNS, _DY_COLUMNS, _DQ, _DELTA = range(6)
_K_ROWS, _V_ROWS, _K_COLUMNS, _DK, _DV, _WEIGHTS, _DSCORES, _TRANSPOSED = range(6, 14)


def sizes(queries, width):
    """Numbers of scratch memory that one thread needs at each place."""
    rows, columns = packed_size(queries, width), packed_size(width, queries)
    tall, wide = width + ROWS, width + COLUMNS
    return [rows, rows, columns, columns, (queries + ROWS) * wide, queries,
            width * _KEYS, width * _KEYS, wide * _KEYS, tall * _KEYS, tall * _KEYS,
            _QUERIES * COLUMNS, _QUERIES * COLUMNS, _QUERIES // ROWS * _SQUARES]


@Worker
def heads(arguments, worker, workers):
    """One worker's share: whole key heads, each with the query heads that it serves.

    Arguments: the problem (2), q, k, v, mask, y, statistics, dy, dq, dk, dv, scratch memory and its places.
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
            mask, y, statistics = matrix(arguments, 5, b, h), matrix(arguments, 6, b, h), matrix(arguments, 7, b, h)
            _pack_queries(problem, matrix(arguments, 2, b, h), matrix(arguments, 8, b, h), y, room)
            for s in range(0, problem.keys, _KEYS):
                _pack_keys(problem, k, v, room, s)
                _visit_keys(problem, mask, statistics[0], room, task * groups + i, s)
                _write_columns(problem, room[_DK], problem.scale, dk, s, i > 0)
                _write_columns(problem, room[_DV], _ONE, dv, s, i > 0)
            _write_rows(problem, room[_DQ], matrix(arguments, 9, b, h))


@njit(**INNER)
def _pack_queries(problem, q, dy, y, room):
    """Both packings of q and dy, delta = sum_d dy y of each query, and zeros for dq."""
    pack_rows(room[_Q_ROWS], q, problem.queries, problem.width)
    pack_rows(room[_DY_ROWS], dy, problem.queries, problem.width)
    pack_columns(room[_Q_COLUMNS], q, problem.queries, problem.width)
    pack_columns(room[_DY_COLUMNS], dy, problem.queries, problem.width)
    delta = pointer(room[_DELTA])
    for t in range(problem.queries):
        delta[t] = _dot(numbers_at(dy[0] + t * dy[1], problem.width), numbers_at(y[0] + t * y[1], problem.width))
    _clear(room[_DQ], (problem.queries + ROWS) * _whole(problem.width, COLUMNS))


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
def _whole(count, size):
    """count, up to a multiple of size."""
    return (count + size - 1) // size * size


@njit(**INNER)
def _pack_keys(problem, k, v, room, s):
    """The keys and values of the block that begins with the s-th, and zeros for their dk and dv."""
    keys, width = min(_KEYS, problem.keys - s), problem.width
    for c in range(0, keys, COLUMNS):
        place = c * width * FLOAT_BYTES
        pack_wide(room[_K_ROWS] + place, k[0] + (s + c) * k[1], k[1], FLOAT_BYTES, keys - c, width)
        pack_wide(room[_V_ROWS] + place, v[0] + (s + c) * v[1], v[1], FLOAT_BYTES, keys - c, width)
    for d in range(0, width, COLUMNS):
        pack_wide(room[_K_COLUMNS] + d * _KEYS * FLOAT_BYTES, k[0] + s * k[1] + d * FLOAT_BYTES, FLOAT_BYTES, k[1],
                  width - d, keys)
    _clear(room[_DK], _whole(width, ROWS) * _KEYS)
    _clear(room[_DV], _whole(width, ROWS) * _KEYS)


@njit(**INNER)
def _visit_keys(problem, mask, statistics, room, head, s):
    """Show the block of keys to every query that may see one, a block of queries at a time."""
    keys = min(_KEYS, problem.keys - s)
    for t in range(_first_query(problem, s) // _QUERIES * _QUERIES, problem.queries, _QUERIES):
        for c in range(0, keys, COLUMNS):
            _visit_panel(problem, mask, statistics, room, head, t, s, c)
        _add_to_dq(problem, room, t, s, keys)


@njit(**INNER)
def _first_query(problem, s):
    """The first query that may see the s-th key."""
    return max(s - (problem.keys - problem.queries), 0) if problem.causal else 0


@njit(**INNER)
def _visit_panel(problem, mask, statistics, room, head, t, s, c):
    """A block of queries from the t-th on sees COLUMNS keys from the (s + c)-th on, the block's c-th."""
    width, count = problem.width, min(_QUERIES, problem.queries - t)
    start = max(_first_query(problem, s + c) - t, 0) // ROWS * ROWS  # the tiles before it are above the diagonal
    t, count = t + start, count - start
    if count <= 0:
        return
    weights, dscores = room[_WEIGHTS], room[_DSCORES]
    for r in range(0, count, ROWS):
        lines = (t + r) * width * FLOAT_BYTES
        panel = c * width * FLOAT_BYTES
        product(room[_Q_ROWS] + lines, room[_K_ROWS] + panel, width, weights + r * TILE_ROW, TILE_ROW, 0)
        product(room[_DY_ROWS] + lines, room[_V_ROWS] + panel, width, dscores + r * TILE_ROW, TILE_ROW, 0)
    _softmax(problem, weights, pointer(statistics + 2 * t * FLOAT_BYTES), count)
    _mask(problem, pointer(weights), mask, t, s + c, count)
    delta = pointer(room[_DELTA] + t * FLOAT_BYTES)
    if problem.dropping:
        _drop(problem, pointer(weights), pointer(dscores), delta, head, t, s + c, count)
    else:
        _softmax_backward(weights, dscores, delta, count)
    for d in range(0, width, ROWS):
        lines = (d * problem.queries + t * ROWS) * FLOAT_BYTES
        place = (c * _whole(width, ROWS) + d * COLUMNS) * FLOAT_BYTES
        product(room[_DY_COLUMNS] + lines, weights, count, room[_DV] + place, TILE_ROW, 1)
        product(room[_Q_COLUMNS] + lines, dscores, count, room[_DK] + place, TILE_ROW, 1)
    for r in range(0, count, ROWS):
        square = room[_TRANSPOSED] + ((start + r) // ROWS * _SQUARES + c * ROWS) * FLOAT_BYTES
        pack_square(square, dscores + r * TILE_ROW, count - r)


@njit(fastmath=FASTMATH, **INNER)
def _softmax(problem, scores, statistics, count):
    """The weights that forward made, in place of the scores."""
    for r in range(count):
        largest, inverse = statistics[2 * r], statistics[2 * r + 1]
        store(exp(load(scores + r * TILE_ROW) * problem.scale - largest) * inverse, scores + r * TILE_ROW)


@njit(**INNER)
def _mask(problem, weights, mask, t, s, count):
    """0 where a query, from the t-th on, may not see a key, from the s-th on."""
    if problem.causal:
        for r in range(min(count, _first_query(problem, s + COLUMNS) - t)):
            for c in range(max(keys_seen(problem, t + r) - s, 0), COLUMNS):
                weights[r * COLUMNS + c] = _ZERO
    if problem.masked:
        for r in range(count):
            for c in range(min(COLUMNS, problem.keys - s)):
                if masked_out(mask, t + r, s + c):
                    weights[r * COLUMNS + c] = _ZERO


@njit(fastmath=FASTMATH, **INNER)
def _softmax_backward(weights, dweights, delta, count):
    """dscores = weight (dweight - delta) in place of dweights."""
    for r in range(count):
        place = r * TILE_ROW
        store(load(weights + place) * (load(dweights + place) - delta[r]), dweights + place)


@njit(**INNER)
def _drop(problem, weights, dweights, delta, head, t, s, count):
    """The same with dropout, which leaves of weights and dweights what it left in forward."""
    for i in range(count * COLUMNS):
        factor = keep_factor(problem, head, t + i // COLUMNS, s + i % COLUMNS)
        dweights[i] = weights[i] * (dweights[i] * factor - delta[i // COLUMNS])
        weights[i] *= factor


@njit(**INNER)
def _add_to_dq(problem, room, t, s, keys):
    """dq += dscores k for the block; a tile of queries takes the keys that its last query sees."""
    wide = _whole(problem.width, COLUMNS)
    for r in range(0, min(_QUERIES, problem.queries - t), ROWS):
        depth = min(keys_seen(problem, t + r + ROWS - 1) - s, keys)
        if depth > 0:
            for d in range(0, wide, COLUMNS):
                product(room[_TRANSPOSED] + r // ROWS * _SQUARES * FLOAT_BYTES,
                        room[_K_COLUMNS] + d * _KEYS * FLOAT_BYTES, depth,
                        room[_DQ] + ((t + r) * wide + d) * FLOAT_BYTES, wide * FLOAT_BYTES, 1)


@njit(**INNER)
def _write_columns(problem, sums, scale, target, s, add):
    """The target's rows from the s-th on = or += scale times the panels (D, COLUMNS) of sums."""
    tall = _whole(problem.width, ROWS)
    for c in range(0, min(_KEYS, problem.keys - s), COLUMNS):
        panel = sums + c * tall * FLOAT_BYTES
        for d in range(problem.width):
            store(load(panel + d * TILE_ROW) * scale, panel + d * TILE_ROW)
        rows = target[0] + (s + c) * target[1], target[1]
        transpose(panel, rows, min(COLUMNS, problem.keys - s - c), problem.width, add)


@njit(**INNER)
def _write_rows(problem, sums, dq):
    """dq from its padded sums."""
    wide = _whole(problem.width, COLUMNS)
    for t in range(problem.queries):
        source, target = numbers_at(sums + t * wide * FLOAT_BYTES, wide), numbers_at(dq[0] + t * dq[1], problem.width)
        for d in range(problem.width):
            target[d] = source[d] * problem.scale

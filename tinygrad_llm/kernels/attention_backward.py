"""Attention's backward pass for a share of the heads: the weights are made again, block by block.

Scores lie as panels (queries, COLUMNS keys): as they lie they are the packed operand of the products that
give dk and dv; transposed in small squares they are that of dq.
"""

from numba import njit
from numpy import bool_, float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS, FLOAT_BYTES, ROWS, SLACK, TILE_ROW, columns_of, keep_factor, keys_seen, matrix_at,
    pack_all_rows, pack_columns, pack_rows, packed_size, panels, places_of, problem_of, product, rows_of,
)
from tinygrad_llm.kernels.compiling import FASTMATH, INNER
from tinygrad_llm.kernels.polynomials import exp
from tinygrad_llm.kernels.parallel import Worker, array4, share
from tinygrad_llm.kernels.vectors import load, store

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
    """One worker's share: whole key heads, each with the query heads that it serves."""
    problem, room = problem_of(arguments), places_of(arguments, 12, worker)
    q, k, v = array4(arguments, 2, float32), array4(arguments, 3, float32), array4(arguments, 4, float32)
    mask, y, statistics = array4(arguments, 5, bool_), array4(arguments, 6, float32), array4(arguments, 7, float32)
    dy, dq = array4(arguments, 8, float32), array4(arguments, 9, float32)
    dk, dv = array4(arguments, 10, float32), array4(arguments, 11, float32)
    batch, count = k.shape[:2]
    group = q.shape[1] // count
    first, end = share(batch * count, worker, workers)
    for task in range(first, end):
        b, g = task // count, task % count
        for h in range(g * group, (g + 1) * group):
            _pack_queries(problem, q[b, h], dy[b, h], y[b, h], room)
            for s in range(0, problem.keys, _KEYS):
                _pack_keys(problem, k[b, g], v[b, g], room, s)
                _visit_keys(problem, mask[b, h], statistics[b, h], room, task * group + h - g * group, s)
                _write_columns(problem, room[_DK], problem.scale, dk[b, g, s:s + _KEYS], h > g * group)
                _write_columns(problem, room[_DV], _ONE, dv[b, g, s:s + _KEYS], h > g * group)
            _write_rows(problem, room[_DQ], dq[b, h])


@njit(**INNER)
def _pack_queries(problem, q, dy, y, room):
    """Both packings of q and dy, delta = sum_d dy y of each query, and zeros for dq."""
    pack_all_rows(room[_Q_ROWS], rows_of(q), problem.width)
    pack_all_rows(room[_DY_ROWS], rows_of(dy), problem.width)
    pack_all_rows(room[_Q_COLUMNS], columns_of(q), problem.queries)
    pack_all_rows(room[_DY_COLUMNS], columns_of(dy), problem.queries)
    delta = matrix_at(room[_DELTA], problem.queries, 1)
    for t in range(problem.queries):
        delta[t, 0] = _ZERO
        for d in range(problem.width):
            delta[t, 0] += dy[t, d] * y[t, d]
    matrix_at(room[_DQ], problem.queries + ROWS, _wide(problem))[:] = _ZERO


@njit(**INNER)
def _wide(problem):
    return panels(problem.width, COLUMNS) * COLUMNS


@njit(**INNER)
def _tall(problem):
    return panels(problem.width, ROWS) * ROWS


@njit(**INNER)
def _pack_keys(problem, k, v, room, s):
    """The keys and values of the block that begins with the s-th, and zeros for their dk and dv."""
    keys, width = min(_KEYS, problem.keys - s), problem.width
    for c in range(0, keys, COLUMNS):
        pack_columns(room[_K_ROWS] + c * width * FLOAT_BYTES, rows_of(k), s + c, 0, width)
        pack_columns(room[_V_ROWS] + c * width * FLOAT_BYTES, rows_of(v), s + c, 0, width)
    for d in range(0, width, COLUMNS):
        pack_columns(room[_K_COLUMNS] + d * _KEYS * FLOAT_BYTES, columns_of(k), d, s, keys)
    matrix_at(room[_DK], _tall(problem), _KEYS)[:] = _ZERO
    matrix_at(room[_DV], _tall(problem), _KEYS)[:] = _ZERO


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
    if start >= count:
        return
    for r in range(start, count, ROWS):
        lines, tile = (t + r) * width * FLOAT_BYTES, r * TILE_ROW
        product(room[_Q_ROWS] + lines, room[_K_ROWS] + c * width * FLOAT_BYTES, width,
                room[_WEIGHTS] + tile, TILE_ROW, 0)
        product(room[_DY_ROWS] + lines, room[_V_ROWS] + c * width * FLOAT_BYTES, width,
                room[_DSCORES] + tile, TILE_ROW, 0)
    scores, dscores = room[_WEIGHTS] + start * TILE_ROW, room[_DSCORES] + start * TILE_ROW
    _softmax(problem.scale, scores, statistics[t + start:t + count])
    weights = matrix_at(room[_WEIGHTS], count, COLUMNS)
    _mask(problem, weights, mask, t, s + c, start)
    delta = matrix_at(room[_DELTA], problem.queries, 1)[t:t + count, 0]
    if problem.dropping:
        _drop(problem, weights, matrix_at(room[_DSCORES], count, COLUMNS), delta, head, t, s + c, start)
    else:
        _softmax_backward(scores, dscores, delta[start:])
    for d in range(0, width, ROWS):
        lines = (d * problem.queries + (t + start) * ROWS) * FLOAT_BYTES
        place = (c * _tall(problem) + d * COLUMNS) * FLOAT_BYTES
        product(room[_DY_COLUMNS] + lines, room[_WEIGHTS] + start * TILE_ROW, count - start,
                room[_DV] + place, TILE_ROW, 1)
        product(room[_Q_COLUMNS] + lines, room[_DSCORES] + start * TILE_ROW, count - start,
                room[_DK] + place, TILE_ROW, 1)
    operand = room[_DSCORES], TILE_ROW, FLOAT_BYTES, count
    for r in range(start, count, ROWS):
        pack_rows(room[_TRANSPOSED] + (r // ROWS * _SQUARES + c * ROWS) * FLOAT_BYTES, operand, r, 0, COLUMNS)


@njit(fastmath=FASTMATH, **INNER)
def _softmax(scale, scores, statistics):
    """The weights that forward made, in place of the scores."""
    for r in range(len(statistics)):
        largest, inverse = statistics[r, 0], statistics[r, 1]
        store(exp(load(scores + r * TILE_ROW) * scale - largest) * inverse, scores + r * TILE_ROW)


@njit(**INNER)
def _mask(problem, weights, mask, t, s, start):
    """0 where a query may not see a key; the weights are those of keys from the s-th on."""
    if problem.causal:
        for r in range(start, len(weights)):
            for c in range(max(keys_seen(problem, t + r) - s, 0), COLUMNS):
                weights[r, c] = _ZERO
    if problem.masked:
        for r in range(start, len(weights)):
            for c in range(min(COLUMNS, problem.keys - s)):
                if not mask[t + r, s + c]:
                    weights[r, c] = _ZERO


@njit(fastmath=FASTMATH, **INNER)
def _softmax_backward(weights, dweights, delta):
    """dscores = weight (dweight - delta) in place of dweights."""
    for r in range(len(delta)):
        place = r * TILE_ROW
        store(load(weights + place) * (load(dweights + place) - delta[r]), dweights + place)


@njit(**INNER)
def _drop(problem, weights, dweights, delta, head, t, s, start):
    """The same with dropout, which leaves of weights and dweights what it left in forward."""
    for r in range(start, len(weights)):
        for c in range(COLUMNS):
            factor = keep_factor(problem, head, t + r, s + c)
            dweights[r, c] = weights[r, c] * (dweights[r, c] * factor - delta[r])
            weights[r, c] *= factor


@njit(**INNER)
def _add_to_dq(problem, room, t, s, keys):
    """dq += dscores k for the block; a tile of queries takes the keys that its last query sees."""
    wide = _wide(problem)
    for r in range(0, min(_QUERIES, problem.queries - t), ROWS):
        depth = min(keys_seen(problem, t + r + ROWS - 1) - s, keys)
        if depth > 0:
            for d in range(0, wide, COLUMNS):
                product(room[_TRANSPOSED] + r // ROWS * _SQUARES * FLOAT_BYTES,
                        room[_K_COLUMNS] + d * _KEYS * FLOAT_BYTES, depth,
                        room[_DQ] + ((t + r) * wide + d) * FLOAT_BYTES, wide * FLOAT_BYTES, 1)


@njit(**INNER)
def _write_columns(problem, source, scale, target, add):
    """target (keys, D) = or += scale times the panels (D, COLUMNS) at source."""
    for s in range(len(target)):
        panel = matrix_at(source + s // COLUMNS * _tall(problem) * TILE_ROW, problem.width, COLUMNS)
        for d in range(problem.width):
            value = panel[d, s % COLUMNS] * scale
            target[s, d] = target[s, d] + value if add else value


@njit(**INNER)
def _write_rows(problem, source, target):
    """dq (queries, D) from its padded sums."""
    sums = matrix_at(source, problem.queries, _wide(problem))
    for t in range(problem.queries):
        for d in range(problem.width):
            target[t, d] = sums[t, d] * problem.scale

"""Attention's backward pass for a share of the heads: the weights are made again, a block of queries by keys at a time.

Scores lie as panels (queries, COLUMNS keys): so they are the packed operand of the products that give dk and dv;
transposed in small squares they are that of dq.
"""

import numpy as np
from numba import njit
from numpy import float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS, FLOAT_BYTES, ROWS, SLACK, TILE_ROW, address_of, columns_of, dropout_keeps, keys_seen, matrix,
    pack_all_rows, pack_columns, pack_rows, packed_size, panels, product, product_within, rows_of,
)
from tinygrad_llm.kernels.polynomials import FASTMATH, exp
from tinygrad_llm.kernels.rows import share

_QUERIES, _KEYS = 96 // ROWS * ROWS, 4 * COLUMNS  # in a block
_SQUARE = _KEYS * ROWS + SLACK
_ZERO, _ONE = float32(0), float32(1)
# Places of a thread's scratch memory: a head's packed operands and what is summed over its keys; a block's
# packed keys and what is summed over its queries; the (queries, COLUMNS) weights and their gradient.
_Q_ROWS, _DY_ROWS, _Q_COLUMNS, _DY_COLUMNS, _DQ, _DELTA = range(6)
_K, _V, _K_COLUMNS, _DK, _DV, _WEIGHTS, _DSCORES, _TRANSPOSED = range(6, 14)


def sizes(queries, keys, width):
    """Numbers of scratch memory that one thread needs at each place."""
    rows, columns = packed_size(queries, width), packed_size(width, queries)
    tall, wide = panels(width, ROWS) * ROWS, panels(width, COLUMNS) * COLUMNS
    head = [rows, rows, columns, columns, panels(queries, ROWS) * ROWS * wide, queries]
    return [*head, width * _KEYS, width * _KEYS, wide * _KEYS, tall * _KEYS, tall * _KEYS,
            _QUERIES * COLUMNS, _QUERIES * COLUMNS, _QUERIES // ROWS * _SQUARE]


@njit(error_model="numpy")
def heads(q, k, v, mask, rules, y, statistics, dy, dq, dk, dv, room, worker, workers):
    """One worker's share: whole key heads, each with the query heads that it serves."""
    batch, count = k.shape[:2]
    group = q.shape[1] // count
    first, end = share(batch * count, worker, workers)
    for task in range(first, end):
        b, g = task // count, task % count
        for h in range(g * group, (g + 1) * group):
            _pack_head(q, dy, y, room, b, h)
            for s in range(0, k.shape[2], _KEYS):
                _pack_keys(k, v, room, b, g, s)
                _key_block(q, mask, rules, statistics, room, b, h, s)
                count = min(_KEYS, k.shape[2] - s)
                _write_columns(dk, room[_DK], rules.scale, b, g, s, h > g * group)
                _write_columns(dv, room[_DV], _ONE, b, g, s, h > g * group)
            _write_rows(dq, room[_DQ], rules.scale, b, h)


@njit(error_model="numpy")
def _pack_head(q, dy, y, room, b, h):
    """Both packings of q and dy, delta = sum_d dy y of each query, and zeros for dq."""
    queries, width = q.shape[2:]
    pack_all_rows(room[_Q_ROWS], rows_of(q, b, h), width)
    pack_all_rows(room[_DY_ROWS], rows_of(dy, b, h), width)
    pack_all_rows(room[_Q_COLUMNS], columns_of(q, b, h), queries)
    pack_all_rows(room[_DY_COLUMNS], columns_of(dy, b, h), queries)
    delta = matrix(room[_DELTA], 1, queries)[0]
    for t in range(queries):
        delta[t] = _ZERO
        for d in range(width):
            delta[t] += dy[b, h, t, d] * y[b, h, t, d]
    matrix(room[_DQ], panels(queries, ROWS) * ROWS, panels(width, COLUMNS) * COLUMNS)[:] = _ZERO


@njit(error_model="numpy")
def _pack_keys(k, v, room, b, g, s):
    """The keys and values of the block that begins with the s-th, and zeros for dk and dv."""
    keys, width = min(_KEYS, k.shape[2] - s), k.shape[3]
    for c in range(0, keys, COLUMNS):
        pack_columns(room[_K] + c * width * FLOAT_BYTES, rows_of(k, b, g), s + c, 0, width)
        pack_columns(room[_V] + c * width * FLOAT_BYTES, rows_of(v, b, g), s + c, 0, width)
    for d in range(0, width, COLUMNS):
        pack_columns(room[_K_COLUMNS] + d * _KEYS * FLOAT_BYTES, columns_of(k, b, g), d, s, keys)
    for place in (_DK, _DV):
        matrix(room[place], panels(width, ROWS) * ROWS, _KEYS)[:] = _ZERO


@njit(error_model="numpy")
def _key_block(q, mask, rules, statistics, room, b, h, s):
    """All queries that see a key of the block, a block of queries at a time."""
    queries, keys = mask.shape[2:]
    for t in range(_first_query(rules, s, queries, keys) // _QUERIES * _QUERIES, queries, _QUERIES):
        for c in range(0, min(_KEYS, keys - s), COLUMNS):
            _panel(q.shape[3], mask, rules, statistics, room, b, h, t, s, c)
        _add_to_dq(q.shape[3], rules, room, t, min(_QUERIES, queries - t), s, min(_KEYS, keys - s), queries, keys)


@njit(error_model="numpy")
def _first_query(rules, s, queries, keys):
    """The first query that may see the s-th key."""
    return max(s - (keys - queries), 0) if rules.causal else 0


@njit(error_model="numpy")
def _panel(width, mask, rules, statistics, room, b, h, t, s, c):
    """Block of queries from the t-th, COLUMNS keys from the (s + c)-th: adds to dv and dk, leaves dscores transposed."""
    queries, keys = mask.shape[2:]
    count = min(_QUERIES, queries - t)
    start = min(max(_first_query(rules, s + c, queries, keys) - t, 0), count) // ROWS * ROWS  # first row of the block that sees any
    skip = start * TILE_ROW
    weights, dscores = room[_WEIGHTS], room[_DSCORES]
    for r in range(start, count, ROWS):
        line = (t + r) * width * FLOAT_BYTES
        product(room[_Q_ROWS] + line, room[_K] + c * width * FLOAT_BYTES, width, weights + r * TILE_ROW, 0)
        product(room[_DY_ROWS] + line, room[_V] + c * width * FLOAT_BYTES, width, dscores + r * TILE_ROW, 0)
    _weights(matrix(weights, count, COLUMNS), statistics[b, h], mask, rules, b, h, t, s + c, start)
    _dscores(matrix(weights, count, COLUMNS), matrix(dscores, count, COLUMNS), matrix(room[_DELTA], 1, queries)[0], mask, rules, b, h, t, s + c, start)
    if start < count:
        for d in range(0, width, ROWS):
            line, place = (d * queries + (t + start) * ROWS) * FLOAT_BYTES, (d * _KEYS + c * ROWS) * FLOAT_BYTES
            product(room[_DY_COLUMNS] + line, weights + skip, count - start, room[_DV] + place, 1)
            product(room[_Q_COLUMNS] + line, dscores + skip, count - start, room[_DK] + place, 1)

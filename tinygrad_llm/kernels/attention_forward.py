"""Attention's forward pass for a share of the heads: COLUMNS queries at a time, side by side in vector registers.

Scores lie transposed, (keys, COLUMNS queries): then the maximum and the sum over keys are sums of vectors, and the
weights are, as they lie, the packed operand of the product with the values.
"""

import numpy as np
from numba import njit
from numpy import float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS, FLOAT_BYTES, ROWS, address_of, columns_of, dropout_keeps, keys_seen, matrix, pack_all_rows,
    pack_columns, packed_size, panels, product, rows_of,
)
from tinygrad_llm.kernels.polynomials import FASTMATH, exp, larger
from tinygrad_llm.kernels.rows import share

_KEYS = 256  # in a block of the product with the values: their weights stay in the first-level cache
_ZERO, _ONE, _LOWEST = float32(0), float32(1), float32(-np.inf)


@njit(error_model="numpy")
def workspace(keys, width):
    """Numbers of scratch memory for one thread: packed keys and values, then a panel of queries."""
    panel = (width + panels(width, ROWS) * ROWS + panels(keys, ROWS) * ROWS + 2) * COLUMNS
    return packed_size(keys, width) + packed_size(width, keys) + panel


@njit(error_model="numpy")
def heads(q, k, v, mask, rules, y, statistics, room, size, worker, workers):
    """One worker's share. statistics (B, H, T, 2): the largest score of each row, 1 / sum of exp(score - largest)."""
    batch, count, queries, width = q.shape
    keys, group = k.shape[2], count // k.shape[1]
    k_panels = address_of(room) + worker * size * FLOAT_BYTES
    v_panels = k_panels + packed_size(keys, width) * FLOAT_BYTES
    panel = v_panels + packed_size(width, keys) * FLOAT_BYTES
    parts = 1 if batch * count % workers == 0 else workers
    first, end = share(batch * count * parts, worker, workers)
    packed = -1
    for task in range(first, end):
        head, part = task // parts, task % parts
        b, h = head // count, head % count
        if packed != head // group:
            packed = head // group
            pack_all_rows(k_panels, rows_of(k, b, h // group), width)
            pack_all_rows(v_panels, columns_of(v, b, h // group), keys)
        for t in range(part * COLUMNS, queries, parts * COLUMNS):
            _query_panel(q, k_panels, v_panels, mask, rules, y, statistics, panel, b, h, t)


@njit(error_model="numpy")
def _query_panel(q, k_panels, v_panels, mask, rules, y, statistics, room, b, h, t):
    """COLUMNS queries from the t-th on."""
    queries, width, keys = q.shape[2], q.shape[3], mask.shape[3]
    sums = room + width * COLUMNS * FLOAT_BYTES
    output = sums + 2 * COLUMNS * FLOAT_BYTES
    weights = output + panels(width, ROWS) * ROWS * COLUMNS * FLOAT_BYTES
    seen = keys_seen(rules, min(t + COLUMNS, queries) - 1, queries, keys)
    pack_columns(room, rows_of(q, b, h), t, 0, width)
    for s in range(0, seen, ROWS):
        product(k_panels + s * width * FLOAT_BYTES, room, width, weights + s * COLUMNS * FLOAT_BYTES, 0)
    totals = matrix(sums, 2, COLUMNS)
    _softmax(matrix(weights, seen, COLUMNS), totals, mask, rules, b, h, t)
    for s in range(0, seen, _KEYS):
        for d in range(0, width, ROWS):
            product(v_panels + (d * keys + s * ROWS) * FLOAT_BYTES, weights + s * COLUMNS * FLOAT_BYTES,
                    min(_KEYS, seen - s), output + d * COLUMNS * FLOAT_BYTES, s > 0)
    _write(matrix(output, width, COLUMNS), totals, seen, y, statistics, b, h, t)


@njit(error_model="numpy", fastmath=FASTMATH)
def _softmax(weights, totals, mask, rules, b, h, t):
    """exp(score - largest) in place of the scores; totals: the largest score, and the sum, of each query."""
    largest, total = totals[0], totals[1]
    largest[:], total[:] = _LOWEST, _ZERO
    for s in range(len(weights)):
        for c in range(COLUMNS):
            weights[s, c] *= rules.scale
    _mask_scores(weights, mask, rules, b, h, t)
    for s in range(len(weights)):
        for c in range(COLUMNS):
            largest[c] = larger(largest[c], weights[s, c])
    for c in range(COLUMNS):
        largest[c] = _ZERO if largest[c] == _LOWEST else largest[c]
    for s in range(len(weights)):
        for c in range(COLUMNS):
            weights[s, c] = exp(weights[s, c] - largest[c])
            total[c] += weights[s, c]
    if rules.dropping:
        for s in range(len(weights)):
            for c in range(COLUMNS):
                kept = dropout_keeps(rules, mask.shape, b, h, t + c, s)
                weights[s, c] *= rules.keep_scale if kept else _ZERO


@njit(error_model="numpy")
def _mask_scores(weights, mask, rules, b, h, t):
    """-inf where a query may not see a key."""
    queries, keys = mask.shape[2:]
    if rules.causal:
        for s in range(keys_seen(rules, t, queries, keys), len(weights)):
            for c in range(COLUMNS):
                if s >= keys_seen(rules, t + c, queries, keys):
                    weights[s, c] = _LOWEST
    if rules.masked:
        for s in range(len(weights)):
            for c in range(min(COLUMNS, queries - t)):
                if not mask[b, h, t + c, s]:
                    weights[s, c] = _LOWEST


@njit(error_model="numpy")
def _write(output, totals, seen, y, statistics, b, h, t):
    """The finished rows of y; a row without a key to see is 0."""
    for c in range(min(COLUMNS, y.shape[2] - t)):
        largest, total = totals[0, c], totals[1, c]
        inverse = _ZERO if total == _ZERO else _ONE / total
        statistics[b, h, t + c, 0], statistics[b, h, t + c, 1] = largest, inverse
        for d in range(y.shape[3]):
            y[b, h, t + c, d] = output[d, c] * inverse if seen else _ZERO

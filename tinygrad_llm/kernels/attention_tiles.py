"""What attention's forward and backward share: packed matrices, products of tiles, and which weights are allowed.

Addresses are integers that count bytes. An operand (see gemm.py) is (address, bytes from line to line, bytes from
k to k, lines).
"""

from typing import NamedTuple

import numpy as np
from numba import carray, njit, types
from numpy import uint32

from tinygrad_llm.kernels.gemm import _address as address_of
from tinygrad_llm.kernels.gemm import _pack_columns as pack_columns
from tinygrad_llm.kernels.gemm import _pack_rows as pack_rows
from tinygrad_llm.kernels.gemm import _panels as panels
from tinygrad_llm.kernels.selection import keeps
from tinygrad_llm.kernels.simd import COLUMNS, FLOAT_BYTES, LANES, ROWS, VECTORS, multiply_tile, pointer

SLACK = 16  # numbers that packing may write beyond the last panel
TILE_ROW = COLUMNS * FLOAT_BYTES


class Rules(NamedTuple):
    """How weights follow from scores. Dropout keeps what the hash of (first, second) puts at `threshold` or above."""

    scale: np.float32
    masked: bool
    causal: bool
    dropping: bool
    first: np.uint32
    second: np.uint32
    threshold: np.uint32
    keep_scale: np.float32


RULES = types.NamedTuple([types.float32, *[types.boolean] * 3, *[types.uint32] * 3, types.float32], Rules)


@njit(error_model="numpy")
def rows_of(x, b, h):
    """The operand whose lines are the rows of x[b, h] (T, D): k runs over D."""
    return address_of(x) + b * x.strides[0] + h * x.strides[1], x.strides[2], x.strides[3], x.shape[2]


@njit(error_model="numpy")
def columns_of(x, b, h):
    """The operand whose lines are the columns of x[b, h] (T, D): k runs over T."""
    return address_of(x) + b * x.strides[0] + h * x.strides[1], x.strides[3], x.strides[2], x.shape[3]


@njit(error_model="numpy")
def pack_all_rows(target, operand, depth):
    """Every line of an operand in panels of ROWS lines, each (depth, ROWS)."""
    for i in range(0, operand[3], ROWS):
        pack_rows(target + i * depth * FLOAT_BYTES, operand, i, 0, depth)


@njit(error_model="numpy")
def packed_size(lines, depth):
    """Numbers that `pack_all_rows` may write, up to whole cache lines."""
    return (panels(lines, ROWS) * ROWS * depth + SLACK + 15) // 16 * 16


@njit(error_model="numpy")
def product(a, b, depth, c, add):
    """c (ROWS, COLUMNS), contiguous, = or += a^T b for panels a (depth, ROWS) and b (depth, COLUMNS)."""
    product_within(a, b, depth, c, TILE_ROW, add)


@njit(error_model="numpy")
def product_within(a, b, depth, c, c_stride, add):
    """The same for a c that is part of a wider matrix, `c_stride` bytes from row to row."""
    multiply_tile(ROWS, VECTORS, LANES, a, b, depth, c, c_stride, add)


@njit(error_model="numpy")
def matrix(address, rows, columns):
    """The numbers from an address on, as an array (rows, columns)."""
    return carray(pointer(address), (rows, columns))


@njit(error_model="numpy")
def keys_seen(rules, query, queries, keys):
    """How many keys, the first ones, a query may see by causality alone."""
    return max(min(query + keys - queries + 1, keys), 0) if rules.causal else keys


@njit(error_model="numpy")
def dropout_keeps(rules, shape, b, h, t, s):
    """Whether dropout keeps weight [b, h, t, s] of an array of shape (B, H, T, S)."""
    position = ((b * shape[1] + h) * shape[2] + t) * shape[3] + s
    return keeps(uint32(position), rules.first, rules.second, rules.threshold)

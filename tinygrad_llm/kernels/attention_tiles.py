"""What attention's forward and backward share: the problem, packed matrices, and which weights are allowed.

Addresses are integers that count bytes. A matrix is (address, bytes from row to row, from column to column).
"""

from typing import NamedTuple

import numpy as np
from numba import carray, njit
from numpy import float32, int64, uint32

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.gemm import _pack_columns, _pack_rows
from tinygrad_llm.kernels.parallel import flag_at, line, number
from tinygrad_llm.kernels.selection import keeps
from tinygrad_llm.kernels.simd import (
    COLUMNS, FLOAT_BYTES, LANES, ROWS, VECTORS, multiply_tile, pointer,
)

SLACK = 16  # numbers that packing may write beyond the last panel
TILE_ROW = COLUMNS * FLOAT_BYTES


class Problem(NamedTuple):
    """Sizes and settings. Dropout keeps what the hash of (first, second) puts at `threshold` or above."""

    batch: int
    heads: int
    groups: int  # query heads for each key head
    queries: int
    keys: int
    width: int
    causal: bool
    masked: bool
    dropping: bool
    first: np.uint32
    second: np.uint32
    threshold: np.uint32
    scale: np.float32
    keep_scale: np.float32


@njit(**INNER)
def problem_of(arguments):
    """The Problem from a worker's first two arguments: its integers and flags, and its two float32 numbers."""
    n, x = line(arguments, 0, int64), line(arguments, 1, float32)
    return Problem(n[0], n[1], n[2], n[3], n[4], n[5], n[6] != 0, n[7] != 0, n[8] != 0,
                   uint32(n[9]), uint32(n[10]), uint32(n[11]), x[0], x[1])


@njit(**INNER)
def places_of(arguments, i, worker):
    """A worker's addresses in scratch memory, argument i; argument i + 1 holds the offsets, and last their sum."""
    offsets = line(arguments, i + 1, int64)
    return offsets + (number(arguments, i) + worker * offsets[offsets.size - 1])


def packed_size(lines, depth):
    """Numbers that packing may write."""
    return -(-lines // ROWS) * ROWS * depth + SLACK


@njit(**INNER)
def pack_rows(target, matrix, count, width):
    """The rows of a matrix, in panels (width, ROWS) one after another."""
    for i in range(0, count, ROWS):
        _pack_rows(target + i * width * FLOAT_BYTES, (matrix[0], matrix[1], matrix[2], count), i, 0, width)


@njit(**INNER)
def pack_columns(target, matrix, count, width):
    """The columns of a matrix, in panels (count, ROWS) one after another."""
    for i in range(0, width, ROWS):
        _pack_rows(target + i * count * FLOAT_BYTES, (matrix[0], matrix[2], matrix[1], width), i, 0, count)


@njit(**INNER)
def pack_wide(target, first, stride, step, lines, depth):
    """One panel (depth, COLUMNS) of the lines from address `first` on, `stride` bytes apart, numbers `step` apart."""
    _pack_columns(target, (first, stride, step, lines), 0, 0, depth)


@njit(**INNER)
def pack_square(target, source, count):
    """target (COLUMNS, ROWS) = transpose of source (ROWS, COLUMNS), of which `count` rows are there."""
    _pack_rows(target, (source, TILE_ROW, FLOAT_BYTES, count), 0, 0, COLUMNS)


@njit(**INNER)
def product(a, b, depth, c, c_stride, add):
    """c (ROWS, COLUMNS) = or += a^T b for panels a (depth, ROWS) and b (depth, COLUMNS); c_stride: bytes a row."""
    multiply_tile(ROWS, VECTORS, LANES, a, b, depth, c, c_stride, add)


@njit(**INNER)
def numbers_at(address, count):
    """The numbers from an address on, as an array."""
    return carray(pointer(address), count)


@njit(**INNER)
def transpose(source, target, count, width, add):
    """The rows of a target matrix = or += the first columns of source (width, COLUMNS)."""
    for c in range(count):
        row, column = pointer(target[0] + c * target[1]), pointer(source + c * FLOAT_BYTES)
        for d in range(width):
            row[d] = row[d] + column[d * COLUMNS] if add else column[d * COLUMNS]


@njit(**INNER)
def keys_seen(problem, query):
    """How many keys, the first ones, a query may see if nothing is masked."""
    if problem.causal:
        return max(min(query + 1 + problem.keys - problem.queries, problem.keys), 0)
    return problem.keys


@njit(**INNER)
def masked_out(mask, t, s):
    """Whether the mask keeps query t from key s."""
    return not flag_at(mask[0] + t * mask[1] + s * mask[2])


@njit(**INNER)
def keep_factor(problem, head, query, key):
    """What dropout multiplies a weight by, 0 or 1 / (1 - p); head counts through the batch."""
    position = (head * problem.queries + query) * problem.keys + key
    kept = keeps(uint32(position), problem.first, problem.second, problem.threshold)
    return problem.keep_scale if kept else float32(0)

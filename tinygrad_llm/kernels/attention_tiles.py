"""What attention's forward and backward share: the problem, packing, and what may be seen.

Addresses are integers that count bytes. A matrix is (address, bytes from row to row, bytes from
column to column); packing (see gemm.py) makes panels of its rows or columns.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, njit
from numpy import float32, int64, uint32

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels import packing
from tinygrad_llm.kernels.packing import SLACK
from tinygrad_llm.kernels.parallel import address, flag_at, line
from tinygrad_llm.kernels.selection import keeps
from tinygrad_llm.kernels.simd import (
    COLUMNS,
    FLOAT_BYTES,
    LANES,
    ROWS,
    VECTORS,
    multiply_rows,
    multiply_tile,
    pointer,
    transpose_square,
)

TILE_ROW = COLUMNS * FLOAT_BYTES


class Problem(NamedTuple):
    """Sizes and settings. Dropout keeps what hashes, with (first, second), to `threshold` or
    more.
    """

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
    """The Problem from a worker's first two arguments: integers and flags, then float32 numbers."""
    n, x = line(arguments, 0, int64), line(arguments, 1, float32)
    return Problem(
        n[0],
        n[1],
        n[2],
        n[3],
        n[4],
        n[5],
        n[6] != 0,
        n[7] != 0,
        n[8] != 0,
        uint32(n[9]),
        uint32(n[10]),
        uint32(n[11]),
        x[0],
        x[1],
    )


@njit(**INNER)
def places_of(arguments, i, worker):
    """A worker's addresses in scratch memory.

    Argument i is the memory; argument i + 1 the offsets of the places, and last their sum.
    """
    offsets = line(arguments, i + 1, int64)
    return offsets + (address(arguments, i) + worker * offsets[offsets.size - 1])


def packed_size(lines, depth):
    """Numbers that `pack_rows` or `pack_columns` may write."""
    return -(-lines // ROWS) * ROWS * depth + SLACK


@njit(**INNER)
def pack_last_rows(target, matrix, count, width):
    """The rows of a matrix of `count` that fill no tile, as one panel (width, ROWS)."""
    whole_rows = count // ROWS * ROWS
    if whole_rows < count:
        operand = matrix[0], matrix[1], matrix[2], count
        packing.pack_rows(target, operand, whole_rows, 0, width)


@njit(**INNER)
def pack_columns(target, matrix, count, width):
    """The `width` columns of a matrix, in panels (count, ROWS) one after another."""
    operand = matrix[0], matrix[2], matrix[1], width
    for i in range(0, width, ROWS):
        packing.pack_rows(target + i * count * FLOAT_BYTES, operand, i, 0, count)


@njit(**INNER)
def pack_rows_wide(target, matrix, first, count, width):
    """Rows first ... first + COLUMNS - 1 of a matrix of `count`, as one panel (width, COLUMNS)."""
    packing.pack_columns(target, (matrix[0], matrix[1], matrix[2], count), first, 0, width)


@njit(**INNER)
def pack_columns_wide(target, matrix, first, width, start, count):
    """Columns first ... first + COLUMNS - 1 of `width`, of the `count` rows from `start` on."""
    packing.pack_columns(target, (matrix[0], matrix[2], matrix[1], width), first, start, count)


@njit(**INNER)
def pack_square(target, source, count):
    """target (COLUMNS, ROWS) = transpose of source (ROWS, COLUMNS), whose first `count` rows
    exist.
    """
    packing.pack_rows(target, (source, TILE_ROW, FLOAT_BYTES, count), 0, 0, COLUMNS)


@njit(**INNER)
def product(a, b, depth, c, c_stride, add):
    """c (ROWS, COLUMNS) = or += a^T b of panels a (depth, ROWS), b (depth, COLUMNS).

    c_stride: bytes from row to row of c.
    """
    multiply_tile(ROWS, VECTORS, LANES, a, b, depth, c, c_stride, add, None)


@njit(**INNER)
def product_of_rows(matrix, i, count, last, b, width, c):
    """c (ROWS, COLUMNS) = rows i ... i + ROWS - 1 of a matrix times a panel b (width, COLUMNS).

    Rows are read as they lie; but from `last`, see `pack_last_rows`, where the matrix of `count`
    rows ends within the tile.
    """
    if i + ROWS <= count:
        rows = matrix[0] + i * matrix[1]
        multiply_rows(ROWS, VECTORS, LANES, rows, matrix[1], b, width, c, TILE_ROW, 0, None)
    else:
        product(last, b, width, c, TILE_ROW, 0)


@njit(**INNER)
def numbers_at(address, count):
    """The numbers from an address on, as an array."""
    return carray(pointer(address), count)


@njit(**INNER)
def transpose(source, target, first, count, width, add):
    """Rows first ... first + count - 1 of a target matrix = or += columns of (width, COLUMNS)."""
    whole_rows, whole_columns = count // LANES * LANES, width // LANES * LANES
    for c in range(0, whole_rows, LANES):
        for d in range(0, whole_columns, LANES):
            place = target[0] + (first + c) * target[1] + d * FLOAT_BYTES
            square = source + (d * COLUMNS + c) * FLOAT_BYTES
            transpose_square(LANES, place, target[1], square, TILE_ROW, add)
    for c in range(count):
        row = pointer(target[0] + (first + c) * target[1])
        column = pointer(source + c * FLOAT_BYTES)
        for d in range(whole_columns if c < whole_rows else 0, width):
            row[d] = row[d] + column[d * COLUMNS] if add else column[d * COLUMNS]


@njit(**INNER)
def whole(count, size):
    """count, up to a multiple of size."""
    return (count + size - 1) // size * size


@njit(**INNER)
def keys_seen(problem, query):
    """How many keys, the first ones, a query may see if nothing is masked."""
    if problem.causal:
        return max(min(query + 1 + problem.keys - problem.queries, problem.keys), 0)
    return problem.keys


@njit(**INNER)
def first_query(problem, key):
    """The first query that may see a key if nothing is masked."""
    return max(key - (problem.keys - problem.queries), 0) if problem.causal else 0


@njit(**INNER)
def masked_out(mask, query, key):
    """Whether the mask keeps a query from a key."""
    return not flag_at(mask[0] + query * mask[1] + key * mask[2])


@njit(**INNER)
def keep_factor(problem, head, query, key):
    """What dropout multiplies a weight by, 0 or 1 / (1 - p); head counts through the batch."""
    position = (head * problem.queries + query) * problem.keys + key
    kept = keeps(uint32(position), problem.first, problem.second, problem.threshold)
    return problem.keep_scale if kept else float32(0)

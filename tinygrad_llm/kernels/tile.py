"""One tile of a product: rows x columns that stay in registers while their sums run, and the edges
of c, where a part of a tile exists.

Sums run over a stretch of ks at a time and are then added to c: rounding in long sums is as small
as in PyTorch's products, and a part of the nearest cache is all that this costs.
"""

from numba import carray, njit
from numpy import int64

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.simd import (
    COLUMNS,
    FLOAT_BYTES,
    LANES,
    ROWS,
    VECTORS,
    multiply_rows,
    multiply_tile,
    pointer,
)

SUM = 192  # products, at most, that are summed in one run
FEW = ROWS // 4  # rows that are faster one by one than as a tile whose other rows are for nothing


@njit(**INNER)
def panels(count, width):
    """How many panels of a width hold so many lines."""
    return (count + width - 1) // width


@njit(**INNER)
def portion(count, width, part, parts):
    """(first, end) of a part, of so many, of `count` lines, cut between panels of a width."""
    whole = panels(count, width)
    return part * whole // parts * width, min((part + 1) * whole // parts * width, count)


@njit(**INNER)
def multiply(operands, room, edge, c, part, add, fetch):
    """A part of c (rows and columns, each from first to end) = or += a b, of up to ROWS x COLUMNS.

    operands: a as in gemm.py, the first k, the first row that is packed, a panel of b, and its
    depth. room: the part's panel of a, if that is packed. edge: room for a whole tile.
    """
    a, k, packed, panel, depth = operands
    i, i_end, j, j_end = part
    if i_end - i <= FEW and j_end - j == COLUMNS and a[2] == FLOAT_BYTES:
        _rows_alone(operands, c, part, add, fetch)
        return
    place, stride = c[0] + i * c[1] + j * FLOAT_BYTES, c[1]
    whole = i_end - i == ROWS and j_end - j == COLUMNS
    target = place
    if not whole:
        target, stride = edge, COLUMNS * FLOAT_BYTES
        if add:
            _move(place, c[1], target, stride, i_end - i, j_end - j)
    for n in range(panels(depth, SUM)):
        start, count, there = _summed(depth, n)
        ahead, columns = _fetched(fetch, start), panel + start * COLUMNS * FLOAT_BYTES
        if i < packed:
            lies = a[0] + i * a[1] + (k + start) * FLOAT_BYTES
            multiply_rows(
                ROWS, VECTORS, LANES, lies, a[1], columns, count, target, stride, add | there, ahead
            )
        else:
            lies = room + start * ROWS * FLOAT_BYTES
            multiply_tile(
                ROWS, VECTORS, LANES, lies, columns, count, target, stride, add | there, ahead
            )
    if not whole:
        _move(target, stride, place, c[1], i_end - i, j_end - j)


@njit(**INNER)
def _rows_alone(operands, c, part, add, fetch):
    """Few rows, each a tile of its own: then what takes the time is to read b once."""
    a, k, _, panel, depth = operands
    i, i_end, j, _ = part
    for row in range(i, i_end):
        place = c[0] + row * c[1] + j * FLOAT_BYTES
        for n in range(panels(depth, SUM)):
            start, count, there = _summed(depth, n)
            address, line, rate = _fetched(fetch, start)
            ahead = address, line, rate if row == i else 0
            lies = a[0] + row * a[1] + (k + start) * FLOAT_BYTES
            columns = panel + start * COLUMNS * FLOAT_BYTES
            multiply_rows(
                1, VECTORS, LANES, lies, a[1], columns, count, place, c[1], add | there, ahead
            )


@njit(**INNER)
def _summed(depth, n):
    """The n-th stretch of a block's ks that is summed by itself: (first, how many, 1 but for the
    first).
    """
    start, end = portion(depth, LANES, n, panels(depth, SUM))
    return start, end - start, int64(n > 0)


@njit(**INNER)
def _fetched(fetch, k):
    """What to fetch from the k-th step on."""
    address, line, rate = fetch
    return address + (k * rate >> 16) * line, line, rate


@njit(**INNER)
def _move(source, source_stride, target, target_stride, rows, columns):
    """The part of a tile that exists, at the edge of c."""
    for i in range(rows):
        numbers = carray(pointer(source + i * source_stride), columns)
        carray(pointer(target + i * target_stride), columns)[:] = numbers

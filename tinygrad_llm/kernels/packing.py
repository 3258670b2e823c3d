"""Packing: the operands of a product as panels that its tile reads from end to end.

A panel (depth, width) holds `width` lines of an operand, rows of a or columns of b, side by side
for each k. An operand is (address, bytes from line to line, bytes from k to k, lines).
"""

from numba import carray, njit

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.simd import (
    COLUMNS,
    FLOAT_BYTES,
    LANES,
    ROWS,
    copy_row,
    copy_transposed,
    pointer,
)

SLACK = 16  # numbers that packing may write beyond a panel; panels that follow overwrite them


def _packer(width):
    """A function that packs one panel; compiled once for each width, so that loops over lines
    unroll.
    """
    whole = (width + LANES - 1) // LANES * LANES

    @njit(**INNER)
    def pack(target, operand, first, k, depth):
        """target (depth, width) = `width` lines of the operand from `first` on, k running from `k`.

        Missing lines repeat the last one: what the tile makes of them is never stored.
        """
        address, stride, k_stride, lines = operand
        source = address + first * stride + k * k_stride
        there = min(width, lines - first)
        done = 0
        if k_stride == FLOAT_BYTES:
            while done + LANES <= depth:
                copy_transposed(
                    width,
                    LANES,
                    target + done * width * FLOAT_BYTES,
                    source + done * FLOAT_BYTES,
                    stride,
                    there,
                )
                done += LANES
        elif stride == FLOAT_BYTES and first + whole <= lines:
            while done < depth:
                copy_row(
                    width, LANES, target + done * width * FLOAT_BYTES, source + done * k_stride
                )
                done += 1
        for k in range(done, depth):
            numbers = carray(pointer(target + k * width * FLOAT_BYTES), width)
            for i in range(width):
                numbers[i] = pointer(source + min(i, there - 1) * stride + k * k_stride)[0]

    return pack


pack_rows, pack_columns = _packer(ROWS), _packer(COLUMNS)


@njit(**INNER)
def pack_row_panels(target, panel, operand, first, count, k, depth):
    """`count` panels of ROWS lines that lie side by side, `panel` bytes apart.

    k is the outer loop: all lines of one k lie in a few cache lines, which are fetched once.
    """
    source = operand[0] + first * FLOAT_BYTES + k * operand[2]
    for _ in range(depth):
        for i in range(count):
            copy_row(ROWS, LANES, target + i * panel, source + i * ROWS * FLOAT_BYTES)
        target += ROWS * FLOAT_BYTES
        source += operand[2]

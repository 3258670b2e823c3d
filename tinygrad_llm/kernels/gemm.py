"""Matrix products at the speed of the machine: packed panels, a register tile, one rectangle for
each thread.

Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication". Every number of a
product is summed over k in one order that depends on K alone: a row computed alone equals that row
in a batch, bit for bit, with any number of threads.
"""

import numpy as np
from numba import carray, njit
from numpy import int64

from tinygrad_llm.kernels.buffers import empty, scratch
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.epilogues import NOTHING, epilogue_of, finish
from tinygrad_llm.kernels.parallel import Worker, address, line, number, run, size, stride
from tinygrad_llm.kernels.simd import (
    COLUMNS,
    FLOAT_BYTES,
    LANES,
    ROWS,
    VECTORS,
    copy_row,
    copy_transposed,
    multiply_tile,
    pointer,
)
from tinygrad_llm.kernels.threads import get_num_threads

# A block of a stays in the second-level cache, a block of b in the third, a panel of b (DEPTH x
# COLUMNS) in the
# first or second. With DEPTH 256 the output would travel to memory three times as often.
DEPTH = 768
BLOCK_ROWS = 96 // ROWS * ROWS
BLOCK_COLUMNS = 1024
# The copies write up to a vector beyond a panel, and panels begin on cache lines.
A_PANEL = DEPTH * ROWS + 16
B_PANEL = DEPTH * COLUMNS
A_BLOCK = BLOCK_ROWS // ROWS * A_PANEL
B_BLOCK = BLOCK_COLUMNS // COLUMNS * B_PANEL
WORKSPACE = A_BLOCK + B_BLOCK + ROWS * COLUMNS
SMALL = 400_000  # products of numbers, below which a second thread costs more than it brings


def gemm(a, b, out=None, *, accumulate=False, epilogue=NOTHING):
    """out (M, N) = a (M, K) b (K, N), added to what `out` holds if `accumulate`; then the epilogue.
    Returns out.

    float32. a and b may have any strides; the numbers of a row of `out` lie side by side.
    """
    if out is None:
        out = empty((a.shape[0], b.shape[1]))
    if (
        a.ndim != 2
        or b.ndim != 2
        or a.shape[1] != b.shape[0]
        or out.shape != (a.shape[0], b.shape[1])
    ):
        raise ValueError(f"gemm: {a.shape} times {b.shape} into {out.shape} does not fit")
    if out.size and out.shape[1] > 1 and out.strides[1] != FLOAT_BYTES:
        raise ValueError(f"gemm: out needs rows without gaps, got strides {out.strides}")
    products(a, _ONE_MATRIX, b, _ONE_MATRIX, out[None], accumulate, epilogue)
    return out


def products(a, a_offsets, b, b_offsets, out, accumulate=False, epilogue=NOTHING):
    """out[i] (M, N) = a_i b_i for matrices a_i that lie a_offsets[i] bytes after the matrix a; b_i
    likewise. An epilogue is for one product alone.
    """
    work = out.size // max(out.shape[1], 1) * max(out.shape[1], ROWS) * a.shape[1]
    threads = 1 if work < SMALL else get_num_threads()
    room = scratch(WORKSPACE * threads)
    run(_multiply, threads, a, a_offsets, b, b_offsets, out, accumulate, room, *epilogue)


_ONE_MATRIX = np.zeros(1, np.int64)
_A, _A_OFFSETS, _B, _B_OFFSETS, _OUT, _ACCUMULATE, _ROOM, _EPILOGUE = range(8)


@Worker
def _multiply(arguments, worker, workers):
    """One worker's rectangles: whole matrices where they divide evenly, else its part of every
    grid.
    """
    batch, m, n = size(arguments, _OUT, 0), size(arguments, _OUT, 1), size(arguments, _OUT, 2)
    a_offsets = line(arguments, _A_OFFSETS, int64)
    b_offsets = line(arguments, _B_OFFSETS, int64)
    epilogue = epilogue_of(arguments, _EPILOGUE, n)
    parts = 1 if batch % workers == 0 else workers
    row_parts, column_parts = _grid(_panels(m, ROWS), _panels(n, COLUMNS), parts)
    parts = row_parts * column_parts
    tasks = batch * parts
    room = address(arguments, _ROOM) + worker * WORKSPACE * FLOAT_BYTES
    for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
        i, part = task // parts, task % parts
        a, b = address(arguments, _A) + a_offsets[i], address(arguments, _B) + b_offsets[i]
        out = address(arguments, _OUT) + i * stride(arguments, _OUT, 0)
        _rectangle(
            (a, stride(arguments, _A, 0), stride(arguments, _A, 1), m),
            (b, stride(arguments, _B, 1), stride(arguments, _B, 0), n),
            (out, stride(arguments, _OUT, 1)),
            _range(m, ROWS, part // column_parts, row_parts),
            _range(n, COLUMNS, part % column_parts, column_parts),
            size(arguments, _A, 1),
            number(arguments, _ACCUMULATE),
            epilogue,
            room,
        )


@njit(**INNER)
def _grid(row_panels, column_panels, parts):
    """How many parts the rows and the columns are cut into, so that the largest rectangle takes the
    least time.
    """
    best, shortest = (1, 1), row_panels * column_panels * 8 + row_panels + column_panels * 2
    for rows in range(1, parts + 1):
        m, n = _panels(row_panels, rows), _panels(column_panels, parts // rows)
        time = m * n * 6 + m * 2 + n * 4  # in cycles for each k: tiles, packing of a, packing of b
        if time < shortest:
            best, shortest = (rows, parts // rows), time
    return best


@njit(**INNER)
def _panels(count, width):
    return (count + width - 1) // width


@njit(**INNER)
def _range(count, width, part, parts):
    panels = _panels(count, width)
    return part * panels // parts * width, min((part + 1) * panels // parts * width, count)


@njit(**INNER)
def _rectangle(a, b, c, rows, columns, depth, accumulate, epilogue, room):
    """c[rows, columns] = a b and the epilogue, by one thread, with nothing shared: blocks of
    columns, of k, of rows.

    a and b are (address, bytes from line to line, bytes from k to k, lines); c is (address, bytes
    from row to row).
    """
    if depth == 0:
        _rectangle_without_products(c, rows, columns, accumulate, epilogue)
    k_blocks = _panels(depth, DEPTH)
    for j in range(columns[0], columns[1], BLOCK_COLUMNS):
        j_end = min(j + BLOCK_COLUMNS, columns[1])
        for block in range(k_blocks):
            k, k_end = _range(depth, LANES, block, k_blocks)
            add = accumulate or block > 0
            last = block == k_blocks - 1
            for i in range(rows[0], rows[1], BLOCK_ROWS):
                part = (i, min(i + BLOCK_ROWS, rows[1])), (j, j_end), (k, k_end)
                _block(a, b, c, part, rows, add, last, epilogue, room)


@njit(**INNER)
def _block(a, b, c, part, all_rows, add, last, epilogue, room):
    """One block of a times one of b; part: its rows, columns and ks. The first block of rows packs
    b, a panel just before it is used.
    """
    rows, columns, ks = part
    depth = ks[1] - ks[0]
    a_room, b_room, tile = (
        room,
        room + A_BLOCK * FLOAT_BYTES,
        room + (A_BLOCK + B_BLOCK) * FLOAT_BYTES,
    )
    for i in range(rows[0], rows[1], ROWS):
        _pack_rows(a_room + (i - rows[0]) // ROWS * A_PANEL * FLOAT_BYTES, a, i, ks[0], depth)
    only = (
        rows == all_rows
    )  # then one place serves every panel of b, and it never leaves the nearest cache
    for j in range(columns[0], columns[1], COLUMNS):
        panel = b_room if only else b_room + (j - columns[0]) // COLUMNS * B_PANEL * FLOAT_BYTES
        if rows[0] == all_rows[0]:
            _pack_columns(panel, b, j, ks[0], depth)
        c_column = c[0] + j * FLOAT_BYTES
        wide = min(COLUMNS, columns[1] - j)
        for i in range(rows[0], rows[1], ROWS):
            a_panel = a_room + (i - rows[0]) // ROWS * A_PANEL * FLOAT_BYTES
            place = c_column + i * c[1]
            high = min(ROWS, rows[1] - i)
            if high == ROWS and wide == COLUMNS:
                multiply_tile(ROWS, VECTORS, LANES, a_panel, panel, depth, place, c[1], add)
            else:
                multiply_tile(
                    ROWS, VECTORS, LANES, a_panel, panel, depth, tile, COLUMNS * FLOAT_BYTES, 0
                )
                _move(tile, place, c[1], high, wide, add)
        if last:
            place = c_column + rows[0] * c[1]
            finish(place, c[1], rows[1] - rows[0], wide, epilogue, rows[0], j)


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


_pack_rows, _pack_columns = _packer(ROWS), _packer(COLUMNS)


@njit(**INNER)
def _move(tile, place, stride, rows, columns, add):
    """The part of a tile that exists, at the edge of c."""
    for i in range(rows):
        source = carray(pointer(tile + i * COLUMNS * FLOAT_BYTES), columns)
        target = carray(pointer(place + i * stride), columns)
        for j in range(columns):
            target[j] = target[j] + source[j] if add else source[j]


@njit(**INNER)
def _rectangle_without_products(c, rows, columns, accumulate, epilogue):
    """K = 0: an empty sum is 0."""
    for j in range(columns[0], columns[1], COLUMNS):
        wide = min(COLUMNS, columns[1] - j)
        place = c[0] + rows[0] * c[1] + j * FLOAT_BYTES
        for i in range(rows[1] - rows[0]):
            row = carray(pointer(place + i * c[1]), wide)
            if not accumulate:
                row[:] = 0
        finish(place, c[1], rows[1] - rows[0], wide, epilogue, rows[0], j)

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
from tinygrad_llm.kernels.packing import SLACK, pack_columns, pack_row_panels, pack_rows
from tinygrad_llm.kernels.parallel import Worker, address, line, number, run, size, stride
from tinygrad_llm.kernels.simd import (
    COLUMNS,
    FLOAT_BYTES,
    LANES,
    ROWS,
    pointer,
)
from tinygrad_llm.kernels.threads import get_num_threads
from tinygrad_llm.kernels.tile import multiply, panels, portion

# A block of a stays in the second-level cache, which is larger where there is AVX-512; a block of b
# in the third, a panel of b (DEPTH x COLUMNS) in the first or second. With DEPTH 256 the output
# would travel to memory three times as often.
DEPTH = 768
BLOCK_ROWS = (264 if LANES == 16 else 96) // ROWS * ROWS
BLOCK_COLUMNS = 1024
A_PANEL = DEPTH * ROWS + SLACK
B_PANEL = DEPTH * COLUMNS
A_BLOCK = BLOCK_ROWS // ROWS * A_PANEL
B_BLOCK = BLOCK_COLUMNS // COLUMNS * B_PANEL
WORKSPACE = A_BLOCK + B_BLOCK + ROWS * COLUMNS
PAGE = 4096  # bytes
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
    row_parts, column_parts = _grid(panels(m, ROWS), panels(n, COLUMNS), parts)
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
            portion(m, ROWS, part // column_parts, row_parts),
            portion(n, COLUMNS, part % column_parts, column_parts),
            size(arguments, _A, 1),
            number(arguments, _ACCUMULATE),
            epilogue,
            room,
        )


@njit(**INNER)
def _grid(row_panels, column_panels, parts):
    """How many parts the rows and the columns are cut into, so that the largest rectangle takes the
    least time.

    Packing counts for rows that are read as they lie, too: they are then those that the same core
    wrote.
    """
    best, shortest = (1, 1), row_panels * column_panels * 8 + row_panels + column_panels * 2
    for rows in range(1, parts + 1):
        m, n = panels(row_panels, rows), panels(column_panels, parts // rows)
        time = m * n * 6 + m * 2 + n * 4  # in cycles for each k: tiles, packing of a, packing of b
        if time < shortest:
            best, shortest = (rows, parts // rows), time
    return best


@njit(**INNER)
def _rectangle(a, b, c, rows, columns, depth, accumulate, epilogue, room):
    """c[rows, columns] = a b and the epilogue, by one thread, with nothing shared: blocks of
    columns, of k, of rows.

    a and b are (address, bytes from line to line, bytes from k to k, lines); c is (address, bytes
    from row to row).
    """
    if depth == 0:
        _rectangle_without_products(c, rows, columns, accumulate, epilogue)
    k_blocks = panels(depth, DEPTH)
    for j in range(columns[0], columns[1], BLOCK_COLUMNS):
        j_end = min(j + BLOCK_COLUMNS, columns[1])
        for block in range(k_blocks):
            k, k_end = portion(depth, LANES, block, k_blocks)
            add = int64(accumulate or block > 0)
            last = block == k_blocks - 1
            for i in range(rows[0], rows[1], BLOCK_ROWS):
                part = (i, min(i + BLOCK_ROWS, rows[1])), (j, j_end), (k, k_end)
                _block(a, b, c, part, rows, add, last, epilogue, room)


@njit(**INNER)
def _block(a, b, c, part, all_rows, add, last, epilogue, room):
    """One block of a times one of b; part: its rows, columns and ks. The first block of rows packs
    b, a panel just before it is used, and fetches the next one meanwhile.
    """
    rows, columns, ks = part
    depth, b_room = ks[1] - ks[0], room + A_BLOCK * FLOAT_BYTES
    edge = b_room + B_BLOCK * FLOAT_BYTES
    packed = _pack_a(room, a, rows, ks[0], depth)
    # If this block is the only one of rows, one place serves every panel of b, and it never leaves
    # the nearest cache.
    step = 0 if rows == all_rows else B_PANEL * FLOAT_BYTES
    tiles = panels(rows[1] - rows[0], ROWS)
    for j in range(columns[0], columns[1], COLUMNS):
        panel = b_room + (j - columns[0]) // COLUMNS * step
        ahead = panel, panel, 0
        if rows[0] == all_rows[0]:
            pack_columns(panel, b, j, ks[0], depth)
            if j + COLUMNS < columns[1]:
                ahead = _ahead(b, j + COLUMNS, ks[0], depth)
        operands = a, ks[0], packed, panel, depth
        for i in range(rows[0], rows[1], ROWS):
            tile = (i - rows[0]) // ROWS
            start, line, stretch = ahead
            fetch = start + tile * COLUMNS // tiles * stretch, line, 65536 // tiles
            part = i, min(i + ROWS, rows[1]), j, min(j + COLUMNS, columns[1])
            own = room + tile * A_PANEL * FLOAT_BYTES
            multiply(operands, own, edge, c, part, add, fetch)
        if last:
            place = c[0] + j * FLOAT_BYTES + rows[0] * c[1]
            wide = min(COLUMNS, columns[1] - j)
            finish(place, c[1], rows[1] - rows[0], wide, epilogue, rows[0], j)


@njit(**INNER)
def _pack_a(room, a, rows, k, depth):
    """Pack the rows of a block, but for whole panels of rows whose ks lie side by side: these are
    read as they lie, unless whole pages lie between them, for which the nearest cache has few
    places. Returns the first row that is packed.
    """
    count = (rows[1] - rows[0]) // ROWS
    whole = rows[0] + count * ROWS
    if a[2] == FLOAT_BYTES and a[1] % PAGE:
        first, packed = whole, whole
    elif a[1] == FLOAT_BYTES:
        first, packed = whole, rows[0]
        pack_row_panels(room, A_PANEL * FLOAT_BYTES, a, rows[0], count, k, depth)
    else:
        first = packed = rows[0]
    for i in range(first, rows[1], ROWS):
        pack_rows(room + (i - rows[0]) // ROWS * A_PANEL * FLOAT_BYTES, a, i, k, depth)
    return packed


@njit(**INNER)
def _ahead(b, j, k, depth):
    """The panel of b from column j on, to be fetched in COLUMNS stretches, row by row of the panel:

    (address, bytes from row to row, bytes from stretch to stretch). What lies elsewhere is fetched
    in vain.
    """
    address = b[0] + j * b[1] + k * b[2]
    if b[1] == FLOAT_BYTES:
        return address, b[2], panels(depth, COLUMNS) * b[2]
    return address, COLUMNS * FLOAT_BYTES, b[1]


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

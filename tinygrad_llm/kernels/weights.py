"""Products with a weight (N, K) that holds floats, or blocks of 8 or 4 bits as they are stored.

Few rows of x, as when a model writes: the weight is read once, row by row, at the speed of the
memory; blocks are widened in registers. Many rows: gemm.py, for which some rows of blocks at a time
are widened in memory that stays in the cache. Those two sum in different orders, so a row alone
equals that row among many to rounding, not bit for bit; among a few it does.
"""

import numpy as np
from numba import njit

from tinygrad_llm.blocks import BLOCK, BLOCKS, Q4_0, Q4_1, Q8_0, is_blocks, shape_of
from tinygrad_llm.kernels.block_vectors import FLOATS, dot_rows, widen_block
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.epilogues import NOTHING, columns_of, epilogue_of, finish
from tinygrad_llm.kernels.gemm import gemm
from tinygrad_llm.kernels.parallel import (
    Worker,
    address,
    as_table,
    number,
    run,
    share,
    size,
    stride,
    threads_for,
)
from tinygrad_llm.kernels.simd import COLUMNS, FLOAT_BYTES

FEW = 24  # rows of x up to which widening each block anew costs less than memory for the floats
FEW_FLOATS = 3  # rows of x up to which floats are read row by row
SLAB = 1 << 18  # numbers that are widened at a time: 1 MB
_KINDS = {dtype: i for i, dtype in enumerate((*BLOCKS.values(), FLOATS))}


def by_weight_rows(x, weight, out=None, epilogue=NOTHING):
    """out (M, N) = x W^T for x (M, K), and the epilogue. Returns out."""
    if not is_blocks(weight):
        side_by_side = weight.flags.c_contiguous and weight.dtype == np.float32
        if len(x) > FEW_FLOATS or weight.shape[1] % BLOCK or not side_by_side:
            return gemm(x, weight.T, out, epilogue=epilogue)
        weight = weight.view(FLOATS)
    n, k = shape_of(weight)
    out = empty((len(x), n)) if out is None else out
    weight = np.ascontiguousarray(weight)
    if 0 < len(x) <= FEW and k:
        threads = threads_for(weight.size * BLOCK)
        run(_few_rows, threads, _KINDS[weight.dtype], weight, as_table(x), out, *epilogue)
        return out
    for rows in _slabs(n, k):
        part = columns_of(epilogue, rows.start, rows.stop, n)
        gemm(x, _wide(weight[rows]).T, out[:, rows], epilogue=part)
    return out


def by_weight(dy, weight, out=None, *, accumulate=False):
    """out (M, K) = dy W for dy (M, N), added to what `out` holds if `accumulate`. Returns out."""
    if not is_blocks(weight):
        return gemm(dy, weight, out, accumulate=accumulate)
    n, k = shape_of(weight)
    out = empty((len(dy), k)) if out is None else out
    if n == 0 and not accumulate:
        out[...] = 0
    weight = np.ascontiguousarray(weight)
    for rows in _slabs(n, k):
        gemm(dy[:, rows], _wide(weight[rows]), out, accumulate=accumulate or rows.start > 0)
    return out


def _slabs(n, k):
    """The rows of a weight (n, k) in parts of up to SLAB numbers, but COLUMNS rows at least."""
    step = max(SLAB // max(k, 1) // COLUMNS, 1) * COLUMNS
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _wide(weight):
    """A few rows of blocks as float32."""
    wide = empty(shape_of(weight))
    if wide.size:
        run(_widen, threads_for(wide.size), _KINDS[weight.dtype], weight.reshape(-1), wide)
    return wide


def _few(dtype):
    """A function (w, blocks, x, x_stride, count, y, y_stride): dot_rows for any count of rows."""
    one, four = dot_rows(dtype, 1), dot_rows(dtype, 4)

    @njit(**INNER)
    def dot(w, blocks, x, x_stride, count, y, y_stride):
        done = 0
        while done + 4 <= count:
            four(w, blocks, x + done * x_stride, x_stride, y + done * y_stride, y_stride)
            done += 4
        while done < count:
            one(w, blocks, x + done * x_stride, x_stride, y + done * y_stride, y_stride)
            done += 1

    return dot


_dot_q8_0, _dot_q4_0, _dot_q4_1, _dot_floats = map(_few, (Q8_0, Q4_0, Q4_1, FLOATS))
_widen_q8_0, _widen_q4_0, _widen_q4_1 = map(widen_block, (Q8_0, Q4_0, Q4_1))
_Q8_0, _Q4_0, _Q4_1 = (_KINDS[dtype] for dtype in (Q8_0, Q4_0, Q4_1))
_BYTES = tuple(dtype.itemsize for dtype in _KINDS)


@Worker
def _few_rows(arguments, worker, workers):
    """Each worker takes some panels of COLUMNS rows of the weight."""
    kind, n, blocks = number(arguments, 0), size(arguments, 1, 0), size(arguments, 1, 1)
    weight, row_bytes = address(arguments, 1), stride(arguments, 1, 0)
    x, x_stride, count = address(arguments, 2), stride(arguments, 2, 0), size(arguments, 2, 0)
    y_stride, epilogue = stride(arguments, 3, 0), epilogue_of(arguments, 4, n)
    first, end = share((n + COLUMNS - 1) // COLUMNS, worker, workers)
    for j in range(first * COLUMNS, min(end * COLUMNS, n), COLUMNS):
        wide = min(COLUMNS, n - j)
        place = address(arguments, 3) + j * FLOAT_BYTES
        for i in range(wide):
            w, y = weight + (j + i) * row_bytes, place + i * FLOAT_BYTES
            if kind == _Q8_0:
                _dot_q8_0(w, blocks, x, x_stride, count, y, y_stride)
            elif kind == _Q4_0:
                _dot_q4_0(w, blocks, x, x_stride, count, y, y_stride)
            elif kind == _Q4_1:
                _dot_q4_1(w, blocks, x, x_stride, count, y, y_stride)
            else:
                _dot_floats(w, blocks, x, x_stride, count, y, y_stride)
        finish(place, y_stride, count, wide, epilogue, 0, j)


@Worker
def _widen(arguments, worker, workers):
    """Each worker widens some of the blocks."""
    kind, w, x = number(arguments, 0), address(arguments, 1), address(arguments, 2)
    first, end = share(size(arguments, 1, 0), worker, workers)
    for i in range(first, end):
        block, target = w + i * _BYTES[kind], x + i * BLOCK * FLOAT_BYTES
        if kind == _Q8_0:
            _widen_q8_0(block, target)
        elif kind == _Q4_0:
            _widen_q4_0(block, target)
        else:
            _widen_q4_1(block, target)

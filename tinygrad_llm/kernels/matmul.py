"""The compiled twins of ops/matmul.py: every product, forward and backward, is ours (gemm.py)."""

import math

import numpy as np
from numpy import float32

from tinygrad_llm.blocks import is_blocks, shape_of
from tinygrad_llm.checks import check_linear, check_matmul, check_residual
from tinygrad_llm.kernels import again, epilogues
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.gemm import gemm, products
from tinygrad_llm.kernels.parallel import Worker, as_table, run, share, table, threads_for
from tinygrad_llm.kernels.selection import drop
from tinygrad_llm.kernels.weights import by_weight, by_weight_rows

_BLOCK = 32  # rows


def matmul(a, b, /):
    """y = a b;   da = dy b^T,  db = a^T dy.

    Shapes as NumPy's @: (..., M, K) times (..., K, N) gives (..., M, N), and a vector stands for a
    row on the left, for a column on the right.
    """
    check_matmul(a, b)
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    # BLAS makes the long sums of a product with a vector from several parts: that is more exact.
    multiply = np.matmul if min(a.ndim, b.ndim) == 1 else _multiply
    y = multiply(rows, columns)
    if b.ndim == 1:
        y = y[..., 0]
    if a.ndim == 1:
        y = y[..., 0] if b.ndim == 1 else y[..., 0, :]

    def backward(dy, needs):
        if b.ndim == 1:
            dy = dy[..., None]
        if a.ndim == 1:
            dy = dy[..., None, :]
        da = multiply(dy, columns.swapaxes(-1, -2)) if needs[0] else None
        db = multiply(rows.swapaxes(-1, -2), dy) if needs[1] else None
        return (
            da[..., 0, :] if da is not None and a.ndim == 1 else da,
            db[..., :, 0] if db is not None and b.ndim == 1 else db,
        )

    return y, backward


def linear(x, weight, bias, /):
    """y = x W^T + b;   dx = dy W,  dW = dy^T x,  db = sum of dy over the rows.

    x (..., K), weight (N, K) of floats or blocks, bias (N,) or None, y (..., N).
    """
    y = linear_forward(x, weight, bias, epilogues.arguments(epilogues.PLAIN, bias))
    saved_x = saved_beside(x, weight)
    del x

    def backward(dy, needs, rooms=_NOWHERE):
        return linear_backward(saved_x, weight, dy, needs, rooms)

    return y, backward


def linear_residual(x, weight, bias, residual, /, *, dropout_p=0.0, seed=0):
    """y = r + dropout(x W^T + b);   dr = dy, the rest as in dropout and linear."""
    check_residual(x, weight, residual)
    onto = epilogues.arguments(epilogues.RESIDUAL, bias, as_table(residual), dropout_p, seed)
    y = linear_forward(x, weight, bias, onto)
    saved_x = saved_beside(x, weight)
    del x

    def backward(dy, needs, rooms=(*_NOWHERE, None)):
        dh = drop(dy, dropout_p, seed) if dropout_p else dy
        return *linear_backward(saved_x, weight, dh, needs, rooms), dy if needs[3] else None

    return y, backward


_NOWHERE = (None, None, None)


def saved_beside(x, *weights):
    """What gives x to the gradients of its weights; None where all are in blocks and have none."""
    return None if all(map(is_blocks, weights)) else again.saved(x)


def linear_forward(x, weight, bias, epilogue):
    """x W^T + b, which the epilogue adds."""
    check_linear(x, weight, bias)
    y = by_weight_rows(rows_of(x), weight, epilogue=epilogue)
    return y.reshape(*x.shape[:-1], len(weight))


def linear_backward(saved_x, weight, dy, needs, rooms):
    """dx, dW and db; the last two in the arrays of their rooms where there are some."""
    dy_rows, k = rows_of(dy), shape_of(weight)[1]
    return (
        by_weight(dy_rows, weight).reshape(*dy.shape[:-1], k) if needs[0] else None,
        product_in(rooms[1], dy_rows.T, rows_of(saved_x())) if needs[1] else None,
        sum_in(rooms[2], dy_rows) if needs[2] else None,
    )


def rows_of(x):
    """x (..., D) as (N, D); -1 would be ambiguous where D is 0."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def product_in(room, a, b):
    """a b, in the array of a room if there is one, and there added if it says so."""
    return gemm(a, b) if room is None else gemm(a, b, room.array, accumulate=room.add)


def sum_in(room, rows):
    """The sum of the rows, likewise. Sums of blocks are summed: that is more exact than one sum."""
    parts = empty((-(-len(rows) // _BLOCK), rows.shape[1]))
    run(_sum_blocks, threads_for(rows.size), as_table(rows), parts)
    sums = parts.sum(axis=0)
    if room is None:
        return sums
    room.array[...] = room.array + sums if room.add else sums
    return room.array


@Worker
def _sum_blocks(arguments, worker, workers):
    rows, sums = table(arguments, 0, float32), table(arguments, 1, float32)
    first, end = share(len(sums), worker, workers)
    for block in range(first, end):
        total = sums[block]
        total[:] = float32(0)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(rows))):
            row = rows[i]
            for j in range(row.size):
                total[j] += row[j]


def _multiply(a, b):
    """a (..., M, K) times b (..., K, N), with leading axes that broadcast."""
    if a.ndim == b.ndim == 2:
        return gemm(a, b)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = empty(lead + (a.shape[-2], b.shape[-1]))
    if y.size:
        products(
            _first(a), _offsets(a, lead), _first(b), _offsets(b, lead), y.reshape(-1, *y.shape[-2:])
        )
    return y


def _first(matrices):
    """The first matrix of an array of them."""
    return matrices[(0,) * (matrices.ndim - 2)]


def _offsets(matrices, lead):
    """Bytes from the first matrix to each of those that broadcasting to the leading axes `lead`
    makes.
    """
    strides = np.broadcast_to(matrices, lead + matrices.shape[-2:]).strides[:-2]
    offsets = np.zeros((), np.int64)
    for count, stride in zip(lead, strides):
        offsets = offsets[..., None] + np.arange(count) * stride
    return offsets.ravel()

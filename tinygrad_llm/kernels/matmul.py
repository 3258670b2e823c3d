"""The compiled twins of ops/matmul.py: every product, forward and backward, is ours (gemm.py)."""

import math

import numpy as np

from tinygrad_llm.checks import check_choice, check_linear, check_matmul, check_residual
from tinygrad_llm.kernels import epilogues
from tinygrad_llm.kernels.activations import gelu_gradient
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.gemm import gemm, products
from tinygrad_llm.kernels.parallel import as_table
from tinygrad_llm.kernels.selection import drop


def matmul(a, b, /):
    """y = a b;   da = dy b^T,  db = a^T dy.

    Shapes as NumPy's @: (..., M, K) times (..., K, N) gives (..., M, N), and a vector stands for a
    row on the left, for a column on the right.
    """
    check_matmul(a, b)
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    y = _without_vectors(_multiply(rows, columns), a, b)

    def backward(dy, needs):
        if b.ndim == 1:
            dy = dy[..., None]
        if a.ndim == 1:
            dy = dy[..., None, :]
        da = _multiply(dy, columns.swapaxes(-1, -2)) if needs[0] else None
        db = _multiply(rows.swapaxes(-1, -2), dy) if needs[1] else None
        return (
            da[..., 0, :] if da is not None and a.ndim == 1 else da,
            db[..., :, 0] if db is not None and b.ndim == 1 else db,
        )

    return y, backward


def _without_vectors(y, a, b):
    if b.ndim == 1:
        y = y[..., 0]
    return y[..., 0] if a.ndim == 1 and b.ndim == 1 else y[..., 0, :] if a.ndim == 1 else y


def linear(x, weight, bias, /):
    """y = x W^T + b;   dx = dy W,  dW = dy^T x,  db = sum of dy over the rows.

    x (..., K), weight (N, K), bias (N,) or None, y (..., N).
    """
    y = _linear(x, weight, bias)

    def backward(dy, needs, rooms=_NOWHERE):
        return _linear_backward(x, weight, dy, needs, rooms)

    return y, backward


def linear_gelu(x, weight, bias, /, *, approximate="none"):
    """y = GELU(h), h = x W^T + b;   dh as in gelu, then dx, dW and db as in linear."""
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    kind = epilogues.GELU_TANH if approximate == "tanh" else epilogues.GELU
    y = empty((*x.shape[:-1], len(weight)))
    h = _linear(x, weight, bias, kind, other=as_table(y))

    def backward(dy, needs, rooms=_NOWHERE):
        dh = gelu_gradient(h, dy, approximate)
        return _linear_backward(x, weight, dh, needs, rooms)

    return y, backward


def linear_residual(x, weight, bias, residual, /, *, dropout_p=0.0, seed=0):
    """y = r + dropout(x W^T + b);   dr = dy, the rest as in dropout and linear."""
    check_residual(x, weight, residual)
    y = _linear(x, weight, bias, epilogues.RESIDUAL, as_table(residual), dropout_p, seed)

    def backward(dy, needs, rooms=(*_NOWHERE, None)):
        dh = drop(dy, dropout_p, seed) if dropout_p else dy
        return *_linear_backward(x, weight, dh, needs, rooms), dy if needs[3] else None

    return y, backward


_NOWHERE = (None, None, None)


def _linear(x, weight, bias, kind=epilogues.PLAIN, other=epilogues.NO_ROWS, dropout_p=0.0, seed=0):
    check_linear(x, weight, bias)
    epilogue = epilogues.arguments(kind, bias, other, dropout_p, seed)
    y = gemm(_rows(x), weight.T, epilogue=epilogue)
    return y.reshape(*x.shape[:-1], len(weight))


def _linear_backward(x, weight, dy, needs, rooms):
    """dx, dW and db; the last two in the arrays of their rooms where there are some."""
    dy_rows = _rows(dy)
    return (
        gemm(dy_rows, weight).reshape(x.shape) if needs[0] else None,
        product_in(rooms[1], dy_rows.T, _rows(x)) if needs[1] else None,
        _sum_in(rooms[2], dy_rows) if needs[2] else None,
    )


def _rows(x):
    """x (..., D) as (N, D); -1 would be ambiguous where D is 0."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def product_in(room, a, b):
    """a b, in the array of a room if there is one, and there added if it says so."""
    return gemm(a, b) if room is None else gemm(a, b, room.array, accumulate=room.add)


def _sum_in(room, rows):
    """The sum of the rows, likewise."""
    row = None if room is None else room._replace(array=room.array[None])
    sums = product_in(row, np.ones((1, len(rows)), np.float32), rows)
    return sums[0] if room is None else room.array


def _multiply(a, b):
    """a (..., M, K) times b (..., K, N), with leading axes that broadcast."""
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

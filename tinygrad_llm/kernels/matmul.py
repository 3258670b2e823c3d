"""The compiled twins of ops/matmul.py: every product, forward and backward, is ours (gemm.py)."""

import math

import numpy as np

from tinygrad_llm.checks import check_linear, check_matmul
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.gemm import gemm, products


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
    check_linear(x, weight, bias)
    n, k = weight.shape
    rows = math.prod(x.shape[:-1])  # -1 would be ambiguous where K or N is 0
    x_rows = x.reshape(rows, k)
    y = gemm(x_rows, weight.T, bias=bias).reshape(*x.shape[:-1], n)

    def backward(dy, needs, into=(None, None, None)):
        dy_rows = dy.reshape(rows, n)
        return (
            gemm(dy_rows, weight).reshape(x.shape) if needs[0] else None,
            _product_into(into[1], dy_rows.T, x_rows) if needs[1] else None,
            _sum_into(into[2], dy_rows) if needs[2] else None,
        )

    return y, backward


def _product_into(total, a, b):
    """a b; or `total`, if that is an array, with a b added to it."""
    return gemm(a, b, out=total, accumulate=total is not None)


def _sum_into(total, rows):
    """The sum of the rows; or `total`, if that is an array, with the sum added to it."""
    sums = _product_into(
        None if total is None else total[None], np.ones((1, len(rows)), np.float32), rows
    )
    return sums[0] if total is None else total


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

"""Matrix products, where a transformer spends its time. Backward is two more products."""

import math

import numpy as np

from tinygrad_llm.blocks import widened
from tinygrad_llm.checks import check_linear, check_matmul, check_residual
from tinygrad_llm.ops.selection import dropout


def matmul(a, b, /):
    """y = a b;   da = dy b^T,  db = a^T dy.

    Shapes as NumPy's @: (..., M, K) times (..., K, N) gives (..., M, N), and a vector stands for a
    row on the left, for a column on the right.
    """
    check_matmul(a, b)
    y = a @ b

    def backward(dy, needs):
        rows, columns, dy = as_matrices(a, b, dy)
        da = dy @ columns.swapaxes(-1, -2) if needs[0] else None
        db = rows.swapaxes(-1, -2) @ dy if needs[1] else None
        if da is not None and a.ndim == 1:
            da = da[..., 0, :]
        if db is not None and b.ndim == 1:
            db = db[..., :, 0]
        return da, db

    return y, backward


def as_matrices(a, b, dy):
    """a, b and dy with a vector a as a row, a vector b as a column, and dy's lost axes put back."""
    if b.ndim == 1:
        b, dy = b[:, None], dy[..., None]
    if a.ndim == 1:
        a, dy = a[None, :], dy[..., None, :]
    return a, b, dy


def linear(x, weight, bias, /):
    """y = x W^T + b;   dx = dy W,  dW = dy^T x,  db = sum of dy over the rows.

    x (..., K), weight (N, K), bias (N,) or None, y (..., N). The weight may be in blocks of 8 or 4
    bits (blocks.py); it is then frozen.
    """
    check_linear(x, weight, bias)
    y = x @ widened(weight).T
    if bias is not None:
        y += bias

    def backward(dy, needs):
        rows = math.prod(dy.shape[:-1])  # -1 would be ambiguous where K or N is 0
        dy_rows = dy.reshape(rows, dy.shape[-1])
        return (
            dy @ widened(weight) if needs[0] else None,
            dy_rows.T @ x.reshape(rows, x.shape[-1]) if needs[1] else None,
            np.sum(dy_rows, axis=0) if needs[2] else None,
        )

    return y, backward


def linear_residual(x, weight, bias, residual, /, *, dropout_p=0.0, seed=0):
    """y = r + dropout(x W^T + b);   dr = dy, the rest as in dropout and linear.

    The end of each branch of a transformer. residual r and y: (..., N).
    """
    check_residual(x, weight, residual)
    h, linear_backward = linear(x, weight, bias)
    dropped, dropout_backward = dropout(h, p=dropout_p, seed=seed)

    def backward(dy, needs):
        return *linear_backward(*dropout_backward(dy), needs), dy if needs[3] else None

    return residual + dropped, backward

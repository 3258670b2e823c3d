"""The compiled twin of ops/rotary.py: each pair is read once and written once, where it lies."""

import math

import numpy as np
from numba import carray
from numpy import float32

from tinygrad_llm.checks import check_rotary
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.parallel import (
    Worker,
    as_table,
    matrix,
    number,
    run,
    share,
    size,
    table,
    threads_for,
)
from tinygrad_llm.kernels.simd import FLOAT_BYTES, pointer

_FORWARD, _BACK = 1, -1


def rotary(x, /, *, cos, sin):
    """With x = (a, b), two halves of D/2: y = (a cos - b sin, b cos + a sin);   dx: dy turned back.

    x (..., T, D), cos and sin (T, D/2) of the angles of each place. y and dx lie in memory as
    (B, T, H, D), like the operands and gradients of attention.
    """
    check_rotary(x, cos, sin)
    cos, sin = as_table(cos), as_table(sin)

    def backward(dy):
        return (_turned(dy, cos, sin, _BACK),)

    return _turned(x, cos, sin, _FORWARD), backward


def _turned(x, cos, sin, direction):
    batch = math.prod(x.shape[:-3])
    heads, (t, d) = math.prod(x.shape[-3:-2]), x.shape[-2:]
    rows = x.reshape(batch, heads, t, d)
    if rows.strides[3] != FLOAT_BYTES:
        rows = np.ascontiguousarray(rows)
    y = empty((batch, t, heads, d)).swapaxes(1, 2)
    if x.size:
        run(_turn, threads_for(x.size), direction, rows, cos, sin, y)
    return y.reshape(x.shape)


@Worker
def _turn(arguments, worker, workers):
    """Each worker turns some places of every text, all heads of a place one after another."""
    direction = float32(number(arguments, 0))
    cos, sin = table(arguments, 2, float32), table(arguments, 3, float32)
    batch, heads, t = size(arguments, 1, 0), size(arguments, 1, 1), size(arguments, 1, 2)
    half = cos.shape[1]
    first, end = share(batch * t, worker, workers)
    for place in range(first, end):
        text, i = place // t, place % t
        c, s = cos[i], sin[i]
        for head in range(heads):
            source, row_bytes, _ = matrix(arguments, 1, text, head)
            target, target_bytes, _ = matrix(arguments, 4, text, head)
            x = carray(pointer(source + i * row_bytes), 2 * half)
            y = carray(pointer(target + i * target_bytes), 2 * half)
            a, b = x[:half], x[half:]
            ya, yb = y[:half], y[half:]
            for j in range(half):
                turn = direction * s[j]
                ya[j] = a[j] * c[j] - b[j] * turn
                yb[j] = b[j] * c[j] + a[j] * turn

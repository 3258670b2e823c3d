"""The compiled twin of ops/swiglu.py: of the wide layer only what enters the gate is kept.

It goes through long inputs in blocks of rows, as the feed-forward network with GELU does.
"""

import numpy as np
from numba import njit
from numpy import float32

from tinygrad_llm.checks import check_gate, check_linear, check_residual
from tinygrad_llm.kernels import epilogues
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.feed_forward import more_into, row_blocks
from tinygrad_llm.kernels.matmul import product_in, rows_of, saved_beside, sum_in
from tinygrad_llm.kernels.parallel import Worker, as_line, line, part, run, threads_for
from tinygrad_llm.kernels.polynomials import sigmoid
from tinygrad_llm.kernels.simd import COLUMNS, FLOAT_BYTES
from tinygrad_llm.kernels.vectors import load, store
from tinygrad_llm.kernels.weights import by_weight, by_weight_rows

_NOWHERE = (None,) * 8
_ONE = float32(1)


def swiglu(x, w_gate, b_gate, w_up, b_up, w_down, b_down, residual, /):
    """y = r + m W_down^T + b_down, m = silu(g) u, g = x W_gate^T + b_gate, u = x W_up^T + b_up;

    dr = dy, the rest step by step. m is made from g and u again in backward.
    """
    check_gate(w_gate, w_up)
    check_linear(x, w_gate, b_gate)
    check_linear(x, w_up, b_up)
    shape, (g, u) = x.shape, (empty((*x.shape[:-1], len(w_gate))) for _ in range(2))
    check_linear(g, w_down, b_down)
    check_residual(g, w_down, residual)
    saved_x, g, u = saved_beside(x, w_gate, w_up), rows_of(g), rows_of(u)
    y = _forward(x, (w_gate, b_gate), (w_up, b_up), (w_down, b_down), residual, g, u)
    del x, residual

    def backward(dy, needs, rooms=_NOWHERE):
        x = rows_of(saved_x()) if needs[1] or needs[3] else None
        dx, gradients = empty(shape) if needs[0] else None, [None] * 6
        for rows in row_blocks(len(g)):
            there = [more_into(*pair) for pair in zip(rooms[1:7], gradients)]
            out = rows_of(dy)[rows]
            m, dg, du = _wide_gradients(g[rows], u[rows], out, w_down, needs)
            if needs[0]:
                by_weight(dg, w_gate, rows_of(dx)[rows])
                by_weight(du, w_up, rows_of(dx)[rows], accumulate=True)
            gradients = [
                product_in(there[0], dg.T, x[rows]) if needs[1] else None,
                sum_in(there[1], dg) if needs[2] else None,
                product_in(there[2], du.T, x[rows]) if needs[3] else None,
                sum_in(there[3], du) if needs[4] else None,
                product_in(there[4], out.T, m) if needs[5] else None,
                sum_in(there[5], out) if needs[6] else None,
            ]
        return dx, *gradients, dy if needs[7] else None

    return y, backward


def _forward(x, gate, up, down, residual, g, u):
    """y, block by block of rows; g and u are left in their arrays. gate, up, down: weight, bias."""
    y = empty(residual.shape)
    x, r, y_rows = rows_of(x), rows_of(np.ascontiguousarray(residual, np.float32)), rows_of(y)
    for rows in row_blocks(len(x)):
        for out, (weight, bias) in ((g, gate), (u, up)):
            plus = epilogues.arguments(epilogues.PLAIN, bias)
            by_weight_rows(x[rows], weight, out[rows], plus)
        onto = epilogues.arguments(epilogues.RESIDUAL, down[1], r[rows])
        by_weight_rows(_gated(g[rows], u[rows]), down[0], y_rows[rows], onto)
    return y


def _wide_gradients(g, u, dy, w_down, needs):
    """Of a block of rows m, dg and du, or None for what nobody needs."""
    if any(needs[:5]):
        return _gate_gradients(g, u, by_weight(dy, w_down))
    return _gated(g, u) if needs[5] else None, None, None


def _gated(g, u):
    """silu(g) u."""
    m = empty(g.shape)
    run(_gate, threads_for(m.size), as_line(g), as_line(u), as_line(m))
    return m


def _gate_gradients(g, u, dm):
    """(m, dg, du), the last in the place of dm: arrays without gaps."""
    m, dg, du = empty(g.shape), empty(g.shape), as_line(dm)
    run(_gate_backward, threads_for(m.size), *map(as_line, (g, u, m, dg)), du)
    return m, dg, dm


@Worker
def _gate(arguments, worker, workers):
    g = part(line(arguments, 0, float32), worker, workers)
    u = part(line(arguments, 1, float32), worker, workers)
    m = part(line(arguments, 2, float32), worker, workers)
    for i in range(m.size):
        m[i] = g[i] * sigmoid(g[i]) * u[i]


@Worker
def _gate_backward(arguments, worker, workers):
    """m, dg, and du in the place of dm; in vectors, for the compiler makes none where arrays may be
    the same.
    """
    g = part(line(arguments, 0, float32), worker, workers)
    u = part(line(arguments, 1, float32), worker, workers)
    m = part(line(arguments, 2, float32), worker, workers)
    dg = part(line(arguments, 3, float32), worker, workers)
    du = part(line(arguments, 4, float32), worker, workers)
    whole = m.size // COLUMNS * COLUMNS
    inputs, outputs = (g.ctypes.data, u.ctypes.data), (m.ctypes.data, dg.ctypes.data)
    for i in range(0, whole * FLOAT_BYTES, COLUMNS * FLOAT_BYTES):
        dm = load(du.ctypes.data + i)
        some = _all_three(load(inputs[0] + i), load(inputs[1] + i), dm)
        store(some[0], outputs[0] + i)
        store(some[1], outputs[1] + i)
        store(some[2], du.ctypes.data + i)
    for i in range(whole, m.size):
        m[i], dg[i], du[i] = _all_three(g[i], u[i], du[i])


# Vectors contract products and sums, so single numbers must, or bits would hang on the threads.
@njit(fastmath={"contract"}, **INNER)
def _all_three(g, u, dm):
    """m = g s u with s = sigmoid(g), dg = s (1 + g (1 - s)) u dm, du = g s dm."""
    s = sigmoid(g)
    silu = g * s
    return silu * u, (s + silu * (_ONE - s)) * u * dm, silu * dm

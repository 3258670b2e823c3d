"""The compiled twins of ops/activations.py: GELU and SiLU in one pass over memory."""

import numpy as np
from numba import njit
from numpy import float32

from tinygrad_llm.checks import check_choice
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import Worker, as_line, line, number, part, run, threads_for
from tinygrad_llm.kernels.polynomials import (
    gelu_and_slope,
    gelu_tanh,
    gelu_tanh_and_slope,
    sigmoid,
)
from tinygrad_llm.kernels.polynomials import gelu as gelu_of
from tinygrad_llm.kernels.simd import COLUMNS, FLOAT_BYTES
from tinygrad_llm.kernels.vectors import load, store

_SILU, _GELU, _GELU_TANH = range(3)
_ONE = float32(1)
_NO_Y = np.empty(0, np.float32)


def silu(x, /):
    """y = x s with s = sigmoid(x);   dx = s (1 + x (1 - s)) dy."""
    return _activation(x, _SILU)


def gelu(x, /, *, approximate="none"):
    """y = x P(x), P the normal distribution function;   dx = (P(x) + x p(x)) dy, p its density.

    approximate "tanh": P(x) = s = sigmoid(2 u), u as in ops/activations.py;
    there dx = (s + x s (1 - s) 2 u') dy.
    """
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    return _activation(x, _GELU_TANH if approximate == "tanh" else _GELU)


def _activation(x, kind):
    shape, x = x.shape, as_line(x)
    y, threads = empty(shape), threads_for(x.size)
    run(_forward, threads, kind, x, as_line(y))

    def backward(dy):
        return (_gradient(x, dy, kind),)

    return y, backward


def gelu_again(x, dy, approximate):
    """(gelu's y, its dx), the latter in the place of dy: arrays without gaps."""
    y = empty(dy.shape)
    kind = _GELU_TANH if approximate == "tanh" else _GELU
    dy_line = as_line(dy)
    run(_gelu_backward, threads_for(x.size), kind, as_line(x), dy_line, dy_line, as_line(y))
    return y, dy


def _gradient(x, dy, kind):
    dx, threads = empty(dy.shape), threads_for(x.size)
    if kind == _SILU:
        run(_silu_backward, threads, x, as_line(dy), as_line(dx))
    else:
        run(_gelu_backward, threads, kind, x, as_line(dy), as_line(dx), _NO_Y)
    return dx


@Worker
def _forward(arguments, worker, workers):
    kind = number(arguments, 0)
    x = part(line(arguments, 1, float32), worker, workers)
    y = part(line(arguments, 2, float32), worker, workers)
    if kind == _SILU:
        for i in range(x.size):
            y[i] = x[i] * sigmoid(x[i])
    elif kind == _GELU:
        for i in range(x.size):
            y[i] = gelu_of(x[i])
    else:
        for i in range(x.size):
            y[i] = gelu_tanh(x[i])


@Worker
def _silu_backward(arguments, worker, workers):
    x = part(line(arguments, 0, float32), worker, workers)
    dy = part(line(arguments, 1, float32), worker, workers)
    dx = part(line(arguments, 2, float32), worker, workers)
    for i in range(x.size):
        s = sigmoid(x[i])
        dx[i] = dy[i] * s * (_ONE + x[i] * (_ONE - s))


@Worker
def _gelu_backward(arguments, worker, workers):
    """dx, which may be dy, and y unless it is empty; in vectors, for the compiler makes none where
    arrays may be the same.
    """
    kind = number(arguments, 0)
    x = part(line(arguments, 1, float32), worker, workers)
    dy = part(line(arguments, 2, float32), worker, workers)
    dx = part(line(arguments, 3, float32), worker, workers)
    y = part(line(arguments, 4, float32), worker, workers)
    whole, wanted = x.size // COLUMNS * COLUMNS, y.size > 0
    places = x.ctypes.data, dy.ctypes.data, dx.ctypes.data, y.ctypes.data
    for i in range(0, whole * FLOAT_BYTES, COLUMNS * FLOAT_BYTES):
        value, slope = _value_and_slope(load(places[0] + i), kind)
        store(load(places[1] + i) * slope, places[2] + i)
        if wanted:
            store(value, places[3] + i)
    for i in range(whole, x.size):
        value, slope = _value_and_slope(x[i], kind)
        dx[i] = dy[i] * slope
        if wanted:
            y[i] = value


@njit(**INNER)
def _value_and_slope(x, kind):
    return gelu_and_slope(x) if kind == _GELU else gelu_tanh_and_slope(x)

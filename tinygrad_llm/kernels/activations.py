"""The compiled twins of ops/activations.py: GELU and SiLU in one pass over memory."""

import math

from numpy import float32

from tinygrad_llm.checks import check_choice
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.parallel import Worker, as_line, line, number, part, run, threads_for
from tinygrad_llm.kernels.polynomials import (
    CUBIC,
    LINEAR,
    exp,
    gelu_tanh,
    normal_tail,
    sigmoid,
)
from tinygrad_llm.kernels.polynomials import gelu as gelu_of

_SILU, _GELU, _GELU_TANH = range(3)
_ZERO, _HALF, _ONE, _THREE = map(float32, (0, 0.5, 1, 3))
_DENSITY = float32(1 / math.sqrt(2 * math.pi))
_FLAT = float32(9)  # beyond it sigmoid(2 u) is 0 or 1 in float32, and u' may overflow


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


def gelu_gradient(x, dy, approximate):
    """gelu's dx."""
    return _gradient(as_line(x), dy, _GELU_TANH if approximate == "tanh" else _GELU)


def _gradient(x, dy, kind):
    dx = empty(dy.shape)
    run(_backward, threads_for(x.size), kind, x, as_line(dy), as_line(dx))
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
def _backward(arguments, worker, workers):
    kind = number(arguments, 0)
    x = part(line(arguments, 1, float32), worker, workers)
    dy = part(line(arguments, 2, float32), worker, workers)
    dx = part(line(arguments, 3, float32), worker, workers)
    if kind == _SILU:
        for i in range(x.size):
            s = sigmoid(x[i])
            dx[i] = dy[i] * s * (_ONE + x[i] * (_ONE - s))
    elif kind == _GELU:
        for i in range(x.size):
            gaussian = exp(-_HALF * x[i] * x[i])
            tail = normal_tail(abs(x[i]), gaussian)
            p = tail if x[i] < _ZERO else _ONE - tail
            dx[i] = dy[i] * (p + x[i] * (gaussian * _DENSITY))
    else:
        for i in range(x.size):
            z = -_FLAT if x[i] < -_FLAT else (_FLAT if x[i] > _FLAT else x[i])
            e = exp(-z * (LINEAR + CUBIC * z * z))
            s = _ONE / (_ONE + e)
            slope = LINEAR + _THREE * CUBIC * z * z
            dx[i] = dy[i] * (s + z * s * (e * s) * slope)

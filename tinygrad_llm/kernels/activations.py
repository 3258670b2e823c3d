"""The compiled twins of ops/activations.py: GELU and SiLU in one pass over memory."""

from numpy import float32

from tinygrad_llm.checks import check_choice
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.parallel import Worker, as_line, line, number, part, run, threads_for
from tinygrad_llm.kernels.polynomials import (
    gelu_and_slope,
    gelu_tanh,
    gelu_tanh_and_slope,
    sigmoid,
)
from tinygrad_llm.kernels.polynomials import gelu as gelu_of

_SILU, _GELU, _GELU_TANH = range(3)
_ONE = float32(1)


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


def _gradient(x, dy, kind):
    dx, threads = empty(dy.shape), threads_for(x.size)
    if kind == _SILU:
        run(_silu_backward, threads, x, as_line(dy), as_line(dx))
    else:
        run(_gelu_backward, threads, kind, x, as_line(dy), as_line(dx))
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
    kind = number(arguments, 0)
    x = part(line(arguments, 1, float32), worker, workers)
    dy = part(line(arguments, 2, float32), worker, workers)
    dx = part(line(arguments, 3, float32), worker, workers)
    if kind == _GELU:
        for i in range(x.size):
            dx[i] = dy[i] * gelu_and_slope(x[i])[1]
    else:
        for i in range(x.size):
            dx[i] = dy[i] * gelu_tanh_and_slope(x[i])[1]

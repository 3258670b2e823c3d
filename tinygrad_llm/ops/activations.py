"""The nonlinearities between two matrix products. Shapes: y and dx are shaped like x.

GELU: Hendrycks and Gimpel 2016, arXiv 1606.08415. SiLU: Elfwing et al. 2017, arXiv 1702.03118.
"""

import math

import numpy as np

from tinygrad_llm.checks import check_choice, check_floats

_erf = np.frompyfunc(math.erf, 1, 1)


def relu(x, /):
    """y = max(x, 0);   dx = dy where x > 0, else 0."""
    y = np.maximum(x, 0)

    def backward(dy):
        return (dy * (y > 0),)

    return y, backward


def sigmoid(x, /):
    """y = 1 / (1 + e^-x);   dx = y (1 - y) dy."""
    y = _sigmoid(x)

    def backward(dy):
        return (dy * y * (1 - y),)

    return y, backward


def tanh(x, /):
    """y = tanh x;   dx = (1 - y^2) dy."""
    y = np.tanh(x)

    def backward(dy):
        return (dy * (1 - y * y),)

    return y, backward


def silu(x, /):
    """y = x s with s = sigmoid(x);   dx = s (1 + x (1 - s)) dy."""
    check_floats("silu", x)
    s = _sigmoid(x)

    def backward(dy):
        return (dy * s * (1 + x * (1 - s)),)

    return x * s, backward


def gelu(x, /, *, approximate="none"):
    """y = x P(x), P the normal distribution function;   dx = (P(x) + x p(x)) dy, p its density.

    approximate "none": P(x) = (1 + erf(x / sqrt 2)) / 2.
    approximate "tanh", as in GPT-2: P(x) = (1 + t) / 2 with t = tanh u,
    u = sqrt(2 / pi) (x + 0.044715 x^3);   there dx = ((1 + t) / 2 + x / 2 (1 - t^2) u') dy.
    """
    check_floats("gelu", x)
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    if approximate == "tanh":
        return _gelu_tanh(x)
    cumulative = 0.5 * (1 + np.asarray(_erf(x * math.sqrt(0.5)), x.dtype))

    def backward(dy):
        density = np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return (dy * (cumulative + x * density),)

    return x * cumulative, backward


def _gelu_tanh(x):
    scale = math.sqrt(2 / math.pi)
    t = np.tanh(scale * (x + 0.044715 * x * x * x))

    def backward(dy):
        du = scale * (1 + 3 * 0.044715 * x * x)
        return (dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du),)

    return 0.5 * x * (1 + t), backward


def _sigmoid(x):
    """0.5 (1 + tanh(x / 2)): the same function, and it cannot overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))

"""Rows brought to a common scale: to sum 1 (softmax), or to mean 0 and size 1 (the norms)."""

import numpy as np

from tinygrad_llm.checks import check_floats, check_norm


def softmax(x, /, *, axis=-1):
    """y_i = exp x_i / sum_j exp x_j;   dx_i = y_i (dy_i - sum_j y_j dy_j)."""
    check_floats("softmax", x)
    y = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    y /= np.sum(y, axis=axis, keepdims=True)

    def backward(dy):
        return (y * (dy - np.sum(y * dy, axis=axis, keepdims=True)),)

    return y, backward


def log_softmax(x, /, *, axis=-1):
    """y_i = x_i - log sum_j exp x_j;   dx_i = dy_i - exp(y_i) sum_j dy_j."""
    check_floats("log_softmax", x)
    y = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    if y.size:  # rows without values have no sum to take the log of
        y -= np.log(np.sum(np.exp(y), axis=axis, keepdims=True))

    def backward(dy):
        return (dy - np.exp(y) * np.sum(dy, axis=axis, keepdims=True),)

    return y, backward


def layer_norm(x, weight, bias, /, *, eps=1e-5):
    """y = w n + b, n = (x - mean) / s, s = sqrt(var + eps);   with g = w dy:

    dx = (g - mean(g) - n mean(g n)) / s,  dw = sum of dy n,  db = sum of dy over the rows.
    x (..., D), weight (D,), bias (D,) or None. Ba, Kiros and Hinton 2016, arXiv 1607.06450.
    """
    check_norm("layer_norm", x, weight, bias)
    centred = x - _mean(x)
    inverse = 1 / np.sqrt(_mean(centred * centred) + eps)
    n = centred * inverse

    def backward(dy, needs):
        dx = None
        if needs[0]:
            g = dy * weight
            dx = g - _mean(g) - n * _mean(g * n)
            dx *= inverse
        return (dx, _sum_rows(dy * n) if needs[1] else None, _sum_rows(dy) if needs[2] else None)

    y = n * weight
    return y if bias is None else y + bias, backward


def rms_norm(x, weight, /, *, eps=1e-6):
    """y = w n, n = x / s, s = sqrt(mean(x^2) + eps);   with g = w dy:

    dx = (g - n mean(g n)) / s,  dw = sum of dy n over the rows.
    x (..., D), weight (D,). Zhang and Sennrich 2019, arXiv 1910.07467.
    """
    check_norm("rms_norm", x, weight, None)
    inverse = 1 / np.sqrt(_mean(x * x) + eps)
    n = x * inverse

    def backward(dy, needs):
        dx = None
        if needs[0]:
            g = dy * weight
            dx = (g - n * _mean(g * n)) * inverse
        return dx, _sum_rows(dy * n) if needs[1] else None

    return n * weight, backward


def _mean(x):
    return np.mean(x, axis=-1, keepdims=True)


def _sum_rows(x):
    return x.reshape(-1, x.shape[-1]).sum(axis=0)

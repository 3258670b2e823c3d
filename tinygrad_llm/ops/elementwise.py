"""Arithmetic, one value at a time: y = f(a, b) and what a small change of a or b does to y.

Shapes may differ as NumPy broadcasts them; the tape sums a gradient back to its operand's shape.
"""

import numpy as np


def add(a, b, /):
    """y = a + b;   da = dy,  db = dy."""

    def backward(dy):
        return dy, dy

    return a + b, backward


def subtract(a, b, /):
    """y = a - b;   da = dy,  db = -dy."""

    def backward(dy, needs):
        return dy, -dy if needs[1] else None

    return a - b, backward


def multiply(a, b, /):
    """y = a b;   da = b dy,  db = a dy."""

    def backward(dy, needs):
        return dy * b if needs[0] else None, dy * a if needs[1] else None

    return a * b, backward


def divide(a, b, /):
    """y = a / b;   da = dy / b,  db = -y dy / b."""
    y = a / b

    def backward(dy, needs):
        return dy / b if needs[0] else None, -dy * y / b if needs[1] else None

    return y, backward


def power(a, b, /):
    """y = a^b;   da = b a^(b-1) dy,  db = y log(a) dy; da is 0 where b = 0, db where a = 0 <= b."""
    y = a**b

    def backward(dy, needs):
        base, exponent = np.asarray(a, y.dtype), np.asarray(b, y.dtype)
        da = db = None
        if needs[0]:
            da = dy * exponent * base ** np.where(exponent == 0, 1, exponent - 1)
        if needs[1]:
            db = dy * y * np.log(np.where((base == 0) & (exponent >= 0), 1, base))
        return da, db

    return y, backward


def negative(x, /):
    """y = -x;   dx = -dy."""

    def backward(dy):
        return (-dy,)

    return -x, backward


def exp(x, /):
    """y = e^x;   dx = y dy."""
    y = np.exp(x)

    def backward(dy):
        return (dy * y,)

    return y, backward


def log(x, /):
    """y = log x, to base e;   dx = dy / x."""

    def backward(dy):
        return (dy / x,)

    return np.log(x), backward


def sqrt(x, /):
    """y = x^(1/2);   dx = dy / 2y."""
    y = np.sqrt(x)

    def backward(dy):
        return (dy * 0.5 / y,)

    return y, backward


def abs(x, /):
    """y = |x|;   dx = sign(x) dy, and 0 at 0."""

    def backward(dy):
        return (dy * np.sign(x),)

    return np.abs(x), backward


def clip(x, /, *, min=None, max=None):
    """y = x moved into [min, max];   dx = dy where x was inside, else 0. One bound may be None."""
    if min is None and max is None:
        raise ValueError("clip: min and max are both None; give at least one bound")

    def backward(dy):
        inside = np.ones(x.shape, bool)
        if min is not None:
            inside &= x >= min
        if max is not None:
            inside &= x <= max
        return (dy * inside,)

    return np.clip(x, min, max), backward


def maximum(a, b, /):
    """y = the larger of a and b;   dy goes to it, or half to each where they are equal."""

    def backward(dy):
        share = np.where(a == b, 0.5, a > b).astype(dy.dtype)
        return dy * share, dy * (1 - share)

    return np.maximum(a, b), backward


def minimum(a, b, /):
    """y = the smaller of a and b;   dy goes to it, or half to each where they are equal."""

    def backward(dy):
        share = np.where(a == b, 0.5, a < b).astype(dy.dtype)
        return dy * share, dy * (1 - share)

    return np.minimum(a, b), backward

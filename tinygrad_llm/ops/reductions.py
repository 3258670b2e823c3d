"""Many values become one: along `axis` (an int, a tuple, or None for all of them).

Backward spreads dy back over what was reduced, so each op first puts the lost axes back with size 1.
"""

import math

import numpy as np


def sum(x, /, *, axis=None, keepdims=False):
    """y = sum_i x_i;   dx_i = dy."""
    def backward(dy):
        return (np.broadcast_to(_restore(dy, x, axis, keepdims), x.shape),)
    return np.sum(x, axis=axis, keepdims=keepdims), backward


def mean(x, /, *, axis=None, keepdims=False):
    """y = (1/n) sum_i x_i;   dx_i = dy / n."""
    n = _count(x, axis)

    def backward(dy):
        return (np.broadcast_to(_restore(dy, x, axis, keepdims) * (1 / n), x.shape),)
    return np.mean(x, axis=axis, keepdims=keepdims), backward


def var(x, /, *, axis=None, correction=1, keepdims=False):
    """y = sum_i (x_i - mean)^2 / (n - correction);   dx_i = 2 (x_i - mean) dy / (n - correction).

    correction=1 (PyTorch's default) estimates the variance of a population from a sample; 0 is NumPy's.
    """
    n = _count(x, axis)
    if n <= correction:
        raise ValueError(f"var over {n} values with correction={correction} divides by {n - correction}")
    centred = x - np.mean(x, axis=axis, keepdims=True)

    def backward(dy):
        return (centred * (_restore(dy, x, axis, keepdims) * (2 / (n - correction))),)
    y = np.sum(centred * centred, axis=axis, keepdims=keepdims) * (1 / (n - correction))
    return y, backward


def max(x, /, *, axis=None, keepdims=False):
    """y = the largest x_i;   dy goes to it, in equal shares where several are largest."""
    return _extreme(x, np.max, axis, keepdims)


def min(x, /, *, axis=None, keepdims=False):
    """y = the smallest x_i;   dy goes to it, in equal shares where several are smallest."""
    return _extreme(x, np.min, axis, keepdims)


def _extreme(x, reduce, axis, keepdims):
    y = reduce(x, axis=axis, keepdims=True)

    def backward(dy):
        chosen = (x == y).astype(dy.dtype)
        shares = chosen / np.sum(chosen, axis=axis, keepdims=True)
        return (shares * _restore(dy, x, axis, keepdims),)
    return y if keepdims else reduce(x, axis=axis), backward


def _restore(dy, x, axis, keepdims):
    """dy with the reduced axes back as axes of size 1, ready to broadcast against x."""
    if keepdims or axis is None:
        return np.reshape(dy, dy.shape if keepdims else (1,) * x.ndim)
    return np.expand_dims(dy, axis)


def _count(x, axis):
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis)
    return math.prod(x.shape[a] for a in axes)

"""Many values become one: along `axis` (an int, a tuple, or None for all of them).

Backward spreads dy back over what was reduced, so it first puts the lost axes back with size 1.
"""

import math

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple


def sum(x, /, *, axis=None, keepdims=False):
    """y = sum_i x_i;   dx_i = dy."""
    shape = x.shape

    def backward(dy):
        return (np.broadcast_to(_restore(dy, shape, axis, keepdims), shape),)

    return np.sum(x, axis=axis, keepdims=keepdims), backward


def mean(x, /, *, axis=None, keepdims=False):
    """y = (1/n) sum_i x_i;   dx_i = dy / n."""
    n, shape = _count(x, axis), x.shape
    if n == 0:
        raise ValueError(f"mean over 0 values: axis {axis} of shape {x.shape}")

    def backward(dy):
        return (np.broadcast_to(_restore(dy, shape, axis, keepdims) * (1 / n), shape),)

    return np.mean(x, axis=axis, keepdims=keepdims), backward


def var(x, /, *, axis=None, correction=1, keepdims=False):
    """y = sum_i (x_i - mean)^2 / m;   dx_i = 2 (x_i - mean) dy / m, with m = n - correction.

    correction 1, PyTorch's default, estimates a population's variance from a sample; 0 is NumPy's.
    """
    n = _count(x, axis)
    if n <= correction:
        raise ValueError(
            f"var over {n} values with correction={correction} divides by {n - correction}"
        )
    centred = x - np.mean(x, axis=axis, keepdims=True)

    def backward(dy):
        return (centred * (_restore(dy, centred.shape, axis, keepdims) * (2 / (n - correction))),)

    y = np.sum(centred * centred, axis=axis, keepdims=keepdims) * (1 / (n - correction))
    return y, backward


def max(x, /, *, axis=None, keepdims=False):
    """y = the largest x_i;   dy goes to it, in equal shares where several are largest."""
    return _extreme(x, np.max, axis, keepdims)


def min(x, /, *, axis=None, keepdims=False):
    """y = the smallest x_i;   dy goes to it, in equal shares where several are smallest."""
    return _extreme(x, np.min, axis, keepdims)


def _extreme(x, reduce, axis, keepdims):
    if _count(x, axis) == 0:
        raise ValueError(f"{reduce.__name__} over 0 values: axis {axis} of shape {x.shape}")
    y = reduce(x, axis=axis, keepdims=True)

    def backward(dy):
        chosen = (x == y).astype(dy.dtype)
        shares = chosen / np.sum(chosen, axis=axis, keepdims=True)
        return (shares * _restore(dy, x.shape, axis, keepdims),)

    return y if keepdims else reduce(x, axis=axis), backward


def _restore(dy, shape, axis, keepdims):
    """dy with the reduced axes back as axes of size 1, ready to broadcast to `shape`."""
    if keepdims:
        return dy
    return np.reshape(dy, (1,) * len(shape)) if axis is None else np.expand_dims(dy, axis)


def _count(x, axis):
    """How many values each reduced value is made of."""
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
    return math.prod(x.shape[a] for a in axes)

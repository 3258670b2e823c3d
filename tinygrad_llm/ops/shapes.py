"""The same values in another arrangement: no arithmetic, so backward arranges dy back.

Forward returns views wherever NumPy can; nothing here may write into what it returns.
"""

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple


def reshape(x, /, *, shape):
    """y = x in the given shape, one entry of which may be -1;   dx = dy in x's shape."""
    before = x.shape

    def backward(dy):
        return (dy.reshape(before),)

    return x.reshape(shape), backward


def transpose(x, /, *, axis0, axis1):
    """y = x with two axes swapped;   dx = dy with the same two swapped."""

    def backward(dy):
        return (dy.swapaxes(axis0, axis1),)

    return x.swapaxes(axis0, axis1), backward


def permute(x, /, *, axes):
    """y's axis i is x's axis axes[i];   dx: the inverse permutation of dy."""
    order = normalize_axis_tuple(axes, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(f"permute: {len(order)} axes {axes} for {x.ndim} axes of shape {x.shape}")
    inverse = np.argsort(order)

    def backward(dy):
        return (dy.transpose(inverse),)

    return x.transpose(order), backward


def squeeze(x, /, *, axis=None):
    """y = x without its axes of size 1 (all of them, or `axis`);   dx = dy in x's shape."""
    before = x.shape
    dropped = () if axis is None else normalize_axis_tuple(axis, x.ndim)
    if any(before[a] != 1 for a in dropped):
        raise ValueError(f"squeeze: axis {axis} of shape {before} is not of size 1")

    def backward(dy):
        return (dy.reshape(before),)

    return np.squeeze(x, axis), backward


def unsqueeze(x, /, *, axis):
    """y = x with a new axis of size 1;   dx = dy without it."""
    before = x.shape

    def backward(dy):
        return (dy.reshape(before),)

    return np.expand_dims(x, axis), backward


def broadcast_to(x, /, *, shape):
    """y = x repeated to `shape`, NumPy's rule;   dx = dy, which the tape sums."""

    def backward(dy):
        return (dy,)

    return np.broadcast_to(x, shape), backward


def concatenate(*arrays, axis=0):
    """y = the arrays one after another along `axis`;   each gets its own part of dy."""
    y = np.concatenate(arrays, axis)
    ends = np.cumsum([a.shape[axis] for a in arrays])[:-1]

    def backward(dy):
        return np.split(dy, ends, axis)

    return y, backward


def stack(*arrays, axis=0):
    """y = the arrays along a new axis;   array i gets dy's slice i."""
    if len({a.shape for a in arrays}) != 1:
        raise ValueError(f"stack: the shapes {[a.shape for a in arrays]} are not one and the same")
    y = np.stack(arrays, axis)

    def backward(dy):
        return tuple(np.moveaxis(dy, axis, 0))

    return y, backward


def split(x, /, *, sizes, axis=0):
    """y = consecutive parts of x along `axis`, as views;   dx = the parts of dy, joined again.

    sizes: an int for parts of that size (the last may be smaller), or the list of sizes.
    """
    length = x.shape[normalize_axis_index(axis, x.ndim)]
    if isinstance(sizes, int):
        if sizes < 1:
            raise ValueError(f"split: parts of size {sizes}; the size must be at least 1")
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)] or [0]
    if sum(sizes) != length or min(sizes) < 0:
        raise ValueError(f"split: sizes {list(sizes)} do not add up to axis {axis} of {x.shape}")

    def backward(dys):
        return (np.concatenate(dys, axis),)

    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis)), backward


def getitem(x, /, *, index):
    """y = x[index], basic, integer or boolean as NumPy's;   dx = 0 plus dy where y was read."""
    shape = x.shape

    def backward(dy):
        dx = np.zeros(shape, dy.dtype)
        if _is_basic(index):
            dx[index] = dy
        else:
            np.add.at(dx, index, dy)  # an entry that was read twice gets both gradients
        return (dx,)

    return x[index], backward


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None
        or p is Ellipsis
        or isinstance(p, (int, np.integer, slice))
        and not isinstance(p, bool)
        for p in parts
    )

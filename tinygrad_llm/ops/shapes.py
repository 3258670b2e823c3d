"""The same values in another arrangement: no arithmetic, so backward arranges dy back.

Forward returns views wherever NumPy can; nothing here may write into what it returns.
"""

import numpy as np


def reshape(x, /, *, shape):
    """y = x in the given shape, one entry of which may be -1;   dx = dy in x's shape."""
    def backward(dy):
        return (dy.reshape(x.shape),)
    return x.reshape(shape), backward


def transpose(x, /, *, axis0, axis1):
    """y = x with two axes swapped;   dx = dy with the same two swapped."""
    def backward(dy):
        return (dy.swapaxes(axis0, axis1),)
    return x.swapaxes(axis0, axis1), backward


def permute(x, /, *, axes):
    """y's axis i is x's axis axes[i];   dx: the inverse permutation of dy."""
    if sorted(axis % x.ndim if x.ndim else axis for axis in axes) != list(range(x.ndim)):
        raise ValueError(f"permute: axes {tuple(axes)} are no order of the {x.ndim} axes of {x.shape}")
    inverse = np.argsort([axis % x.ndim for axis in axes])

    def backward(dy):
        return (dy.transpose(inverse),)
    return x.transpose(axes), backward


def squeeze(x, /, *, axis=None):
    """y = x without its axes of size 1 (all of them, or `axis`);   dx = dy in x's shape."""
    def backward(dy):
        return (dy.reshape(x.shape),)
    return np.squeeze(x, axis), backward


def unsqueeze(x, /, *, axis):
    """y = x with a new axis of size 1;   dx = dy without it."""
    def backward(dy):
        return (dy.reshape(x.shape),)
    return np.expand_dims(x, axis), backward


def broadcast_to(x, /, *, shape):
    """y = x repeated to `shape` by NumPy's rule;   dx = dy summed over the repetitions (by the tape)."""
    def backward(dy):
        return (dy,)
    return np.broadcast_to(x, shape), backward


def concatenate(*arrays, axis=0):
    """y = the arrays one after another along `axis`;   each gets its own part of dy."""
    ends = np.cumsum([a.shape[axis] for a in arrays])[:-1]

    def backward(dy):
        return np.split(dy, ends, axis)
    return np.concatenate(arrays, axis), backward


def stack(*arrays, axis=0):
    """y = the arrays along a new axis;   array i gets dy's slice i."""
    y = np.stack(arrays, axis)

    def backward(dy):
        return tuple(np.moveaxis(dy, axis, 0))
    return y, backward


def split(x, /, *, sizes, axis=0):
    """y = consecutive parts of x along `axis`, as views;   dx = the parts of dy, joined again.

    sizes: an int for parts of that size (the last may be smaller), or the list of sizes.
    """
    length = x.shape[axis]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    if sum(sizes) != length:
        raise ValueError(f"sizes {list(sizes)} add up to {sum(sizes)}, but axis {axis} has {length}")

    def backward(dys):
        return (np.concatenate(dys, axis),)
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis)), backward


def getitem(x, /, *, index):
    """y = x[index], NumPy's basic, integer and boolean indexing;   dx = 0, plus dy where y was read."""
    def backward(dy):
        dx = np.zeros(x.shape, dy.dtype)
        if _is_basic(index):
            dx[index] = dy
        else:
            np.add.at(dx, index, dy)  # an entry that was read twice gets both gradients
        return (dx,)
    return x[index], backward


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (int, np.integer, slice))
               and not isinstance(p, bool) for p in parts)

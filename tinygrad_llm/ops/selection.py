"""Values chosen by a condition, by an id, or by chance."""

import math

import numpy as np

from tinygrad_llm.blocks import widened
from tinygrad_llm.checks import check_floats, check_ids, check_probability, check_seed


def where(a, b, /, *, condition):
    """y = a where the condition holds, else b;   da = dy where it holds, db = dy where not."""

    def backward(dy, needs):
        zero = np.zeros((), dy.dtype)
        return (
            np.where(condition, dy, zero) if needs[0] else None,
            np.where(condition, zero, dy) if needs[1] else None,
        )

    return np.where(condition, a, b), backward


def masked_fill(x, /, *, mask, value):
    """y = `value` where the mask is true, else x;   dx = dy where the mask is false."""

    def backward(dy):
        return (np.where(mask, np.zeros((), dy.dtype), dy),)

    return np.where(mask, np.asarray(value, x.dtype), x), backward


def embedding(weight, /, *, ids):
    """y = weight[ids];   dweight[v] = the sum of dy over every place where v was looked up.

    weight (V, D), ids of any integer shape (...), y (..., D). A weight in blocks is frozen.
    """
    check_ids(ids, len(weight), "embedding")

    def backward(dy):
        dweight = np.zeros(weight.shape, dy.dtype)
        np.add.at(dweight, ids, dy)
        return (dweight,)

    return widened(weight[ids]), backward


def dropout(x, /, *, p, seed):
    """y = x k / (1 - p), k 1 with probability 1 - p, else 0;   dx = dy k / (1 - p).

    Srivastava et al. 2014. k is a function of the seed and the position, so it is not stored.
    """
    check_floats("dropout", x)
    check_probability(p)
    scale = np.asarray(1 / (1 - p), x.dtype)

    def backward(dy):
        return (dy * (keep(dy.shape, p=p, seed=seed) * scale),)

    return x * (keep(x.shape, p=p, seed=seed) * scale), backward


def keep(shape, *, p, seed):
    """The values that dropout keeps: True with probability 1 - p, a hash of seed and flat position.

    Two rounds of the 32-bit hash `lowbias32` (Wellons, "Prospecting for hash functions", 2018).
    0 <= seed < 2^64; positions count modulo 2^32.
    """
    check_seed(seed)
    position = np.arange(math.prod(shape), dtype=np.uint32)
    first, second = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    return (_mix(_mix(position ^ first) ^ second) >= threshold(p)).reshape(shape)


def threshold(p):
    """The hash value below which an entry is dropped."""
    return np.uint32(p * 2**32)


def _mix(x):
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))

"""The compiled twins of ops/selection.py: dropout with its mask made on the way, and embedding."""

import numpy as np
from numba import njit
from numpy import float32, int64, uint32

from tinygrad_llm.checks import check_ids, check_probability, check_seed
from tinygrad_llm.kernels.buffers import empty, int64_line
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import (
    Worker,
    as_line,
    as_table,
    line,
    run,
    share,
    table,
    threads_for,
)

_ZERO = float32(0)


def embedding(weight, /, *, ids):
    """y = weight[ids];   dweight[v] = the sum of dy over every place where v was looked up.

    weight (V, D), ids of any integer shape (...), y (..., D).
    """
    check_ids(ids, len(weight), "embedding")
    flat, shape = int64_line(ids), weight.shape

    def backward(dy, needs, rooms=(None,)):
        dweight = empty(shape) if rooms[0] is None else rooms[0].array
        if rooms[0] is None or not rooms[0].add:
            dweight[...] = 0
        run(_scatter, threads_for(dy.size), flat, as_table(dy), dweight)
        return (dweight,)

    y = empty((flat.size, shape[1]))
    np.take(weight, flat, axis=0, out=y, mode="clip")  # "raise" would copy y
    return y.reshape(*ids.shape, shape[1]), backward


def dropout(x, /, *, p, seed):
    """y = x k / (1 - p), k 1 with probability 1 - p, else 0;   dx = dy k / (1 - p).

    k is a hash of the seed and the position, computed again in backward.
    """

    def backward(dy):
        return (drop(dy, p, seed),)

    return drop(x, p, seed), backward


def drop(x, p, seed):
    """x k / (1 - p)."""
    settings, scale, y = hash_settings(p, seed), np.full(1, 1 / (1 - p), np.float32), empty(x.shape)
    run(_drop, threads_for(x.size), as_line(x), settings, scale, as_line(y))
    return y


def hash_settings(p, seed):
    """What `keeps` needs to know of the probability and the seed: three uint32 numbers."""
    check_probability(p)
    check_seed(seed)
    return np.array([seed & 0xFFFFFFFF, seed >> 32, int(p * 2**32)], np.uint32)


@njit(**INNER)
def keeps(position, first, second, threshold):
    """Whether dropout keeps the value at a flat position, a uint32, by the hash of
    ops/selection.py.
    """
    return _mix(_mix(position ^ first) ^ second) >= threshold


# Numba widens products of uint32 to 64 bits, so each step says that it stays in 32.
@njit(**INNER)
def _mix(x):
    x = uint32(uint32(x ^ (x >> uint32(16))) * uint32(0x7FEB352D))
    x = uint32(uint32(x ^ (x >> uint32(15))) * uint32(0x846CA68B))
    return uint32(x ^ (x >> uint32(16)))


@Worker
def _scatter(arguments, worker, workers):
    """Each worker adds some columns of every row, in order: no two write to one place."""
    ids, dy = line(arguments, 0, int64), table(arguments, 1, float32)
    dweight = table(arguments, 2, float32)
    first, end = share(dweight.shape[1], worker, workers)
    for i in range(ids.size):
        target, source = dweight[ids[i], first:end], dy[i, first:end]
        for j in range(target.size):
            target[j] += source[j]


@Worker
def _drop(arguments, worker, workers):
    x, y = line(arguments, 0, float32), line(arguments, 3, float32)
    settings, scale = line(arguments, 1, uint32), line(arguments, 2, float32)[0]
    first, second, threshold = settings[0], settings[1], settings[2]
    start, end = share(x.size, worker, workers)
    x, y, start = x[start:end], y[start:end], uint32(start)
    for i in range(x.size):
        kept = keeps(uint32(start + uint32(i)), first, second, threshold)
        y[i] = x[i] * (scale if kept else _ZERO)

"""New keys and values into a cache, as a worker, so that a program can hold it."""

from numba import carray, njit
from numpy import int64

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import Worker, line, matrix, run, size
from tinygrad_llm.kernels.simd import pointer


def append(place, k, v, keys, values):
    """keys[:, :, place] = k and values likewise; k and v (B, G, 1, D), keys and values
    (B, G, capacity, D), place int64 (1,). The numbers of a row lie side by side.
    """
    run(_append, 1, place, k, v, keys, values)


@Worker
def _append(arguments, worker, workers):
    place = line(arguments, 0, int64)[0]
    batch, heads, width = size(arguments, 1, 0), size(arguments, 1, 1), size(arguments, 1, 3)
    for b in range(batch):
        for g in range(heads):
            for i in range(2):
                source = matrix(arguments, 1 + i, b, g)
                _copy(source[0], matrix(arguments, 3 + i, b, g), place, width)


@njit(**INNER)
def _copy(source, target, place, width):
    new, row = carray(pointer(source), width), carray(pointer(target[0] + place * target[1]), width)
    for d in range(width):
        row[d] = new[d]

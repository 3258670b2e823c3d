"""The compiled twin of ops/elementwise.py's add, which every residual branch ends in."""

import numpy as np
from numpy import float32

from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.parallel import Worker, as_line, line, part, run, threads_for


def add(a, b, /):
    """y = a + b;   da = dy,  db = dy."""
    if np.shape(a) == np.shape(b):
        y = empty(np.shape(a))
        run(_add, threads_for(y.size), as_line(a), as_line(b), as_line(y))
    else:
        y = np.add(a, b, out=empty(np.broadcast_shapes(np.shape(a), np.shape(b))))

    def backward(dy):
        return dy, dy

    return y, backward


@Worker
def _add(arguments, worker, workers):
    a = part(line(arguments, 0, float32), worker, workers)
    b = part(line(arguments, 1, float32), worker, workers)
    y = part(line(arguments, 2, float32), worker, workers)
    for i in range(y.size):
        y[i] = a[i] + b[i]

"""What the kernels that go through arrays row by row share: one kind of array, and one way to use threads.

Their results do not depend on the number of threads: each row is computed by one thread, and sums over rows
are sums over blocks of a fixed size.
"""

import numpy as np
from numba import njit

from tinygrad_llm.kernels.polynomials import FASTMATH
from tinygrad_llm.kernels.threads import get_num_threads, parallel_lock

COMPILE = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": FASTMATH}
# cache=True does not see a change in a callee of another file: clear __pycache__ after one.

SMALL = 16_384  # numbers, below which a second thread costs more than it brings


def contiguous(x, dtype=np.float32):
    """x without gaps, as a read-only view: with one kind of array, each kernel is compiled once."""
    x = np.ascontiguousarray(x, dtype)
    if x.flags.writeable:
        x = x.view()
        x.flags.writeable = False
    return x


def as_rows(x):
    """x (..., D) as a contiguous, read-only (N, D)."""
    return contiguous(x).reshape(x.size // max(x.shape[-1], 1), x.shape[-1])


def run(kernel, work, *arguments):
    """Call kernel(*arguments, threads), alone among parallel kernels; work: the numbers it goes through."""
    if work < SMALL or (threads := get_num_threads()) == 1:
        kernel(*arguments, 1)
        return
    with parallel_lock:
        kernel(*arguments, threads)


@njit(error_model="numpy")
def share(count, worker, workers):
    """The part of range(count) that one worker takes, as (first, end)."""
    return worker * count // workers, (worker + 1) * count // workers

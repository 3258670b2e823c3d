"""One setting for the number of threads, and one lock around parallel kernels.

Numba has several threading layers; starting a parallel region costs about 4 us on `omp` and 150 us
on `workqueue`.
"""

import os
import threading

import numba
from threadpoolctl import threadpool_limits

from tinygrad_llm.errors import InputError

# Parallel kernels of two Python threads at once would share the cores badly, and abort on
# `workqueue`.
parallel_lock = threading.Lock()

# A thread that waits spins for some 10 us, then sleeps. On a machine with other work a longer wait
# takes the core from the thread that is waited for: with one core busy a 50 ms step took 94, 146,
# 220 and 490 ms at counts of 1,000, 10,000, 30,000 and 100,000; alone, 1,000 cost 15%.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
_limit = numba.config.NUMBA_NUM_THREADS


def set_num_threads(n):
    """Let kernels and BLAS use `n` threads each, in every Python thread of this process."""
    global _limit
    if not 1 <= n <= numba.config.NUMBA_NUM_THREADS:
        raise InputError(
            f"threads must be from 1 to {numba.config.NUMBA_NUM_THREADS}, "
            f"the cores this process may use; got {n}"
        )
    _limit = n
    numba.set_num_threads(n)
    threadpool_limits(n)


def get_num_threads():
    """The threads a parallel kernel may use. (Numba's own number takes a lock to read.)"""
    return _limit


def threading_layer():
    """The name of Numba's threading layer on this machine: omp, tbb or workqueue."""
    numba.get_num_threads()  # starts the layer, which has no name before
    return numba.threading_layer()

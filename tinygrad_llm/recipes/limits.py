"""The machine's measured limits: the fastest product, and the fastest copy through its memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.recipes.bench import PAUSE, numpy, tile

SIZE = 1024  # of the matrices: large enough for full speed, small enough for the caches
COPIED = 128 * 2**20  # bytes, beyond every cache
TRIES = 5


@dataclass(frozen=True)
class Limits:
    """gflops: of the best of TRIES products of SIZE x SIZE matrices, NumPy's or ours.
    gigabytes_per_second: read plus written, of the best copy.
    """

    gflops: float
    gigabytes_per_second: float


def measure_limits() -> Limits:
    """Both, with as many threads as kernels use. Takes about a second."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), dtype=np.float32) for _ in range(2))
    product = min(_fastest(lambda v=version: v(a, b)) for version in (numpy, tile))
    return Limits(2e-9 * SIZE**3 / product, 2e-9 * COPIED / _fastest(_copier()))


def _copier() -> Callable[[], object]:
    """A copy of COPIED bytes, a part by each thread: NumPy copies without Python's lock."""
    from tinygrad_llm.kernels.threads import get_num_threads

    threads = get_num_threads()
    sources, targets = (np.array_split(np.ones(COPIED, np.uint8), threads) for _ in range(2))
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(np.copyto, targets, sources))


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of TRIES calls, after one that wakes the threads."""
    time.sleep(PAUSE)
    work()
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)

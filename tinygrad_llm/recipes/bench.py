"""Three versions of the matrix product, found equal first and then timed: the textbook's loops,
NumPy, and our SIMD tile.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError

# (M, K, N) of (M, K) times (K, N): one that loops can do, then products of small and of large GPTs
SHAPES = [(64, 64, 64), (768, 128, 512), (2048, 384, 1536), (256, 768, 3072), (1024, 1024, 1024)]
MOST_FOR_LOOPS = 2**19  # multiplications, which take Python a fraction of a second
TOLERANCE = 1e-5  # of the largest number
TURNS, PHASE = 5, 0.1  # each version is timed so often, for about so many seconds
# Seconds. An idle thread of OpenBLAS spins for 120 ms after its last work (2^28 cycles), on a core
# that the next contender needs: with 50 ms the two-thread speeds of who comes next fell to 0.7.
PAUSE = 0.2


class Speed(NamedTuple):
    """What one version reached on one shape (M, K, N), in 10^9 operations a second."""

    shape: tuple[int, int, int]
    version: str
    gflops: float


def loops(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """y_mn = sum over k of a_mk b_kn, as the textbook says it."""
    y = np.zeros((len(a), b.shape[1]), a.dtype)
    for m in range(y.shape[0]):
        for n in range(y.shape[1]):
            for k in range(len(b)):
                y[m, n] += a[m, k] * b[k, n]
    return y


def numpy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The BLAS that NumPy was built with."""
    return a @ b


def tile(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Our kernel (kernels/gemm.py)."""
    from tinygrad_llm.kernels.matmul import matmul

    return matmul(a, b)[0]


VERSIONS: dict[str, Callable] = {"loops": loops, "numpy": numpy, "tile": tile}


def compare_products(shapes: Iterable[tuple[int, int, int]] = SHAPES) -> Iterator[Speed]:
    """The speed of every version on every shape; loops only where they end in a moment.

    Raises InputError for a size below 1, ArithmeticError where two versions differ.
    """
    rng = np.random.default_rng(0)
    for shape in shapes:
        m, k, n = shape
        if min(shape) < 1:
            raise InputError(f"a product of shape {shape} is empty; sizes start at 1")
        a, b = (rng.standard_normal(s, dtype=np.float32) for s in ((m, k), (k, n)))
        versions = usable(math.prod(shape))
        check_equal({name: version(a, b) for name, version in versions.items()}, shape)
        for name, seconds in time_in_turns(versions, a, b).items():
            yield Speed(shape, name, 2e-9 * m * k * n / seconds)


def usable(multiplications: int) -> dict[str, Callable]:
    """The versions that are fast enough for so much work."""
    slow = multiplications > MOST_FOR_LOOPS
    return {name: v for name, v in VERSIONS.items() if not (slow and v is loops)}


def check_equal(results: dict[str, np.ndarray], shape: tuple) -> None:
    """Raise unless all results are NumPy's, to the precision of float32."""
    truth = results["numpy"]
    for name, y in results.items():
        error = float(np.abs(y - truth).max() / max(np.abs(truth).max(), 1e-30))
        if not error <= TOLERANCE:
            raise ArithmeticError(
                f"{name} at {shape} differs from NumPy by {error:.1e} of the largest number"
            )


def time_in_turns(versions: dict[str, Callable], a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Seconds of one product by each version: the median of TURNS, taken in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(TURNS):
        for name, version in versions.items():
            time.sleep(PAUSE)
            seconds[name].append(_phase(version, a, b))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _phase(version: Callable, a: np.ndarray, b: np.ndarray) -> float:
    """Seconds of one of many products; the first of them, which wakes the threads, is not timed."""
    if version is not loops:
        version(a, b)
    start, calls = time.perf_counter(), 0
    while True:
        version(a, b)
        calls += 1
        if (elapsed := time.perf_counter() - start) >= PHASE:
            return elapsed / calls

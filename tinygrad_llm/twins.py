"""Which of the two runs: the readable op of ops/, or its compiled twin in kernels/.

Kernels compute in float32 and are the default there; every other dtype runs the op. Numba loads
with the first kernel.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_compiled: ContextVar[bool] = ContextVar("compiled", default=True)


@contextmanager
def reference() -> Iterator[None]:
    """Inside this block every operation is plain NumPy."""
    with _choice(False):
        yield


@contextmanager
def kernels() -> Iterator[None]:
    """Inside this block float32 operations are compiled wherever a kernel exists (the default)."""
    with _choice(True):
        yield


@contextmanager
def _choice(compiled: bool) -> Iterator[None]:
    token = _compiled.set(compiled)
    try:
        yield
    finally:
        _compiled.reset(token)


def compiled() -> bool:
    """Whether compiled code may run here: not inside `with reference()`."""
    return _compiled.get()


def choose(op: Callable, dtype: np.dtype) -> Callable:
    """The function that runs for `op` on arrays of `dtype`: its kernel or itself."""
    if dtype == np.float32 and _compiled.get():
        return kernel_of(op) or op
    return op


@functools.cache
def kernel_of(op: Callable) -> Callable | None:
    """The compiled twin of an op: the function of its name in the file of its name in kernels/."""
    if not op.__module__.startswith("tinygrad_llm.ops."):
        return None
    twin = op.__module__.replace(".ops.", ".kernels.")
    if importlib.util.find_spec(twin) is None:
        return None
    kernel = getattr(importlib.import_module(twin), op.__name__, None)
    return kernel if getattr(kernel, "__module__", None) == twin else None  # not one it imported

"""Scratch memory that kernels use again and again, so that a training step asks the system for
none.
"""

import threading

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector

_local = threading.local()


def scratch(size):
    """At least `size` float32 numbers of undefined value, aligned; each Python thread has its own,
    valid until asked again.
    """
    buffer = getattr(_local, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _local.buffer = aligned(size)
    return buffer


def aligned(size):
    """`size` float32 numbers of undefined value, the first on a cache line."""
    raw = np.empty(size * 4 + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * 4].view(np.float32)

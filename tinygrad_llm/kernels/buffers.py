"""Memory that kernels use again and again, so that a training step asks the system for none.

Memory fresh from the system is cleared page by page when it is first touched: that made steps a
third slower.
"""

import itertools
import math
import sys
import threading
from typing import NamedTuple

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
LOGITS = 1 << 24  # in memory at a time behind a last layer, at most: 64 MB
# Rows of a feed-forward layer that are wide at a time. With 768, which a cache would hold, packing
# the weights again for each block costs 3% more time.
WIDE_ROWS = 2048
_WORTH_KEEPING = 16_384  # bytes; malloc serves less from its own lists
_SPARE = 1.5  # a gradient of q, k and v, 3 widths, fits where GELU's inputs were, 4 widths

_local = threading.local()


class Room(NamedTuple):
    """Where a backward may put the gradient of a leaf, instead of making an array for it."""

    array: np.ndarray
    add: bool  # to what the array holds, which else means nothing


def scratch(size):
    """At least `size` float32 numbers of undefined value, aligned; each Python thread has its own,
    valid until asked again.
    """
    buffer = getattr(_local, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _local.buffer = _array_in(_new_block(size), (size,))
    return buffer


def empty(shape):
    """A float32 array of undefined values, aligned; where possible in memory whose last array is
    gone.

    Every view of an array refers to the owner of its memory, so the owner's references tell
    whether any is left.
    """
    size = math.prod(shape)
    if size * 4 < _WORTH_KEEPING:
        return np.empty(shape, np.float32)
    size = _rounded(size)
    block = _idle(size)
    if block is None:
        _release()
        block = _new_block(size)
        _blocks().setdefault(size, []).append(block)
    return _array_in(block, shape)


def _idle(size):
    """A block for `size` numbers that nobody uses, the smallest of those up to _SPARE times as
    large; None if there is none.
    """
    larger = (there for there in _blocks() if size < there <= size * _SPARE)
    for there in itertools.chain([size], sorted(larger)):
        for block in _blocks().get(there, ()):
            if not _in_use(block):
                return block
    return None


def int64_line(x):
    """The integers x as int64 (N,) without gaps, copied into such memory."""
    copy = empty((2 * x.size,)).view(np.int64)
    np.copyto(copy.reshape(x.shape), x, casting="unsafe")
    return copy


def _rounded(size):
    """The size and up to an eighth more, so that steps whose sizes vary a little, such as the
    number of masked tokens, find each other's memory. What is not touched is not taken.
    """
    unit = 1 << max(size.bit_length() - 4, 0)
    return -(-size // unit) * unit


def _blocks():
    """This thread's blocks of memory, in lists by the number of float32 numbers they hold."""
    if not hasattr(_local, "blocks"):
        _local.blocks = {}
    return _local.blocks


def _release():
    """Give the blocks that nobody uses back to the system, if they outweigh what was ever in use.

    Between two steps nearly all blocks are idle: weighed against those in use at that moment, they
    would be given back and asked for again in every step.
    """
    every = [block for blocks in _blocks().values() for block in blocks]
    used = sum(block[0].nbytes for block in every if _in_use(block))
    _local.most = max(used, getattr(_local, "most", 0))
    if sum(block[0].nbytes for block in every) - used > _local.most:
        for blocks in _blocks().values():
            blocks[:] = filter(_in_use, blocks)


def _new_block(size):
    """(owner, bytes to its first cache line)"""
    owner = np.empty(size * 4 + ALIGNMENT, np.uint8)
    return owner, -owner.ctypes.data % ALIGNMENT


def _in_use(block):
    return sys.getrefcount(block[0]) > 2  # of the block, and of the call itself


def _array_in(block, shape):
    owner, start = block
    return np.ndarray(shape, np.float32, owner, start)

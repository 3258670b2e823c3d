"""Bytes read eight at a time, as words of 64 bits; hash tables; arrays lent to compiled code."""

from numba import carray, njit, types
from numba.extending import intrinsic
from numpy import int64, uint64

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import pointer_to

MIX = uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth, volume 3, section 6.4


@njit(**INNER)
def lent(x):
    """The same array without an owner: to pass it on costs no counting of references."""
    return carray(pointer_to(x.ctypes.data), x.shape, x.dtype)


@njit(**INNER)
def word_at(place):
    """The 8 bytes at an address as a number; the first one counts least."""
    return carray(pointer_to(place), 1, uint64)[0]


@njit(**INNER)
def first_bytes(word, count):
    """The word with zeros for its bytes from the count-th on."""
    return word if count >= 8 else word & ((uint64(1) << uint64(8 * count)) - uint64(1))


@intrinsic
def trailing_zeros(typing, word):
    """How many zeros stand behind the last 1 of a word; 64 where there is none."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), generate


@njit(**INNER)
def slot_of(keys, key):
    """Where a key lies in a table, whose size is a power of 2, or the free place (-1) for it:
    its own place or the next free one.
    """
    mask = keys.size - 1
    slot = int64((uint64(key) * MIX) >> uint64(32)) & mask
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & mask
    return slot

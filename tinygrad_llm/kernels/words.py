"""Bytes read eight at a time, as 64-bit words, and arrays lent to compiled functions."""

from numba import carray, njit, types
from numba.extending import intrinsic
from numpy import uint64

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import pointer_to


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

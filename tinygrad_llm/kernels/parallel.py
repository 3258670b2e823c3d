"""The one parallel region, and the workers that run in it.

A worker is a function of (arguments, worker, workers) that does its share of a task, for worker = 0 ...
workers - 1. It is compiled at its first use, as serial code: with a parallel region of its own Numba would
take a second more. Arguments travel packed in integers; `number`, `line`, `table` and `array4` unpack them.
"""

import functools

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, prange, types
from numba.extending import intrinsic
from numpy.lib.stride_tricks import as_strided

from tinygrad_llm.kernels.compiling import FASTMATH, INNER
from tinygrad_llm.kernels.simd import INT, POINTER
from tinygrad_llm.kernels.threads import get_num_threads, parallel_lock

_SMALL = 16_384  # numbers, below which a second thread costs more than it brings
_SLOT = 9  # integers for each argument: a number; or an address, then 4 sizes, then 4 strides
_SIGNATURE = types.void(types.CPointer(types.int64), types.int64, types.int64)


class Worker:
    """A share of a task, as a C function that is compiled, or loaded from Numba's cache, at its first use.

    The cache does not see a change in a function of another file: clear __pycache__ after one.
    """

    def __init__(self, function):
        self.function = function

    @functools.cached_property
    def address(self):
        compiled = cfunc(_SIGNATURE, cache=True, error_model="numpy", fastmath=FASTMATH)(self.function)
        return compiled.address


def threads_for(work):
    """How many threads a task deserves that goes through so many numbers."""
    return 1 if work < _SMALL else get_num_threads()


def run(worker, workers, *arguments):
    """Let each of the workers do its share, in a thread of its own.

    Arguments: integers, and arrays of up to 4 axes; what the worker unpacks as `line` or `table` has no gaps.
    """
    packed = np.array([_pack(argument) for argument in arguments], np.int64)
    if workers == 1:
        _launch(worker.address, packed.ctypes.data, 1)
        return
    with parallel_lock:
        _launch(worker.address, packed.ctypes.data, workers)


def _pack(argument):
    if not isinstance(argument, np.ndarray):
        return [argument] + [0] * (_SLOT - 1)
    padding = [0] * (4 - argument.ndim)
    return [argument.ctypes.data, *argument.shape, *padding, *argument.strides, *padding]


def as_rows(x):
    """x (..., D) as float32 (N, D) without gaps."""
    return np.ascontiguousarray(x, np.float32).reshape(x.size // max(x.shape[-1], 1), x.shape[-1])


@njit(**INNER)
def share(count, worker, workers):
    """The part of range(count) that one worker takes, as (first, end)."""
    return worker * count // workers, (worker + 1) * count // workers


@njit(**INNER)
def part(x, worker, workers):
    """The part of an array of one axis that one worker takes. A loop from 0 over it vectorizes; one over x does not."""
    first, end = share(x.size, worker, workers)
    return x[first:end]


@njit(**INNER)
def number(arguments, i):
    """The i-th argument, an integer."""
    return arguments[i * _SLOT]


@njit(**INNER)
def line(arguments, i, dtype):
    """The i-th argument, an array of one axis."""
    return carray(_pointer(arguments[i * _SLOT]), arguments[i * _SLOT + 1], dtype)


@njit(**INNER)
def table(arguments, i, dtype):
    """The i-th argument, an array of two axes."""
    return carray(_pointer(arguments[i * _SLOT]), (arguments[i * _SLOT + 1], arguments[i * _SLOT + 2]), dtype)


@njit(**INNER)
def array4(arguments, i, dtype):
    """The i-th argument, an array of four axes with any strides."""
    slot = i * _SLOT
    return as_strided(
        carray(_pointer(arguments[slot]), (1, 1, 1, 1), dtype),
        (arguments[slot + 1], arguments[slot + 2], arguments[slot + 3], arguments[slot + 4]),
        (arguments[slot + 5], arguments[slot + 6], arguments[slot + 7], arguments[slot + 8]))


@njit(**INNER)
def matrix(arguments, i, first, second):
    """(address, bytes from row to row) of matrix [first, second] of the i-th argument, an array of four axes."""
    slot = i * _SLOT
    return arguments[slot] + first * arguments[slot + 5] + second * arguments[slot + 6], arguments[slot + 7]


@intrinsic
def _pointer(typing, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))
    return types.voidptr(types.int64), generate


@intrinsic
def _call(typing, function, arguments, worker, workers):
    """Call the C function at an address."""
    def generate(context, builder, signature, values):
        kind = ir.FunctionType(ir.VoidType(), [POINTER, INT, INT])
        function = builder.inttoptr(values[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(values[1], POINTER), *values[2:]])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 4), generate


@njit(types.void(*[types.int64] * 3), parallel=True, nogil=True, cache=True)
def _launch(function, arguments, workers):
    if workers == 1:
        _call(function, arguments, 0, 1)
    else:
        for worker in prange(workers):
            _call(function, arguments, worker, workers)

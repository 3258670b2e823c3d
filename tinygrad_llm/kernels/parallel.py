"""The one parallel region, and the workers that run in it.

A worker is a function of (arguments, worker, workers) that does its share of a task, for worker =
0 ... workers - 1. It is compiled at its first use, and as serial code: a parallel region for each
would take Numba a second more. An array travels as the address of its NumPy object, whose fields
`line`, `table` and `matrix` read; `number` reads an integer.
"""

import threading
from array import array
from contextlib import contextmanager
from functools import cached_property, partial

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, prange, types
from numba.extending import intrinsic
from numpy import bool_

from tinygrad_llm.kernels.compiling import FASTMATH, INNER, compile_cached
from tinygrad_llm.kernels.simd import INT, POINTER
from tinygrad_llm.kernels.threads import get_num_threads, parallel_lock

_local = threading.local()
_SMALL = 16_384  # numbers, below which a second thread costs more than it brings
# Bytes from the start of an array object to its fields: PyArrayObject_fields of NumPy's C API.
_DATA, _SHAPE, _STRIDES = 16, 32, 40
_SIGNATURE = types.void(types.CPointer(types.int64), types.int64, types.int64)


class Worker:
    """A share of a task as a C function, compiled or loaded from Numba's cache at its first use.

    The cache does not see a change in a function of another file: clear __pycache__ after one.
    """

    def __init__(self, function):
        self.function = function

    @cached_property
    def address(self):
        decorator = partial(cfunc, _SIGNATURE, error_model="numpy", fastmath=FASTMATH)
        return compile_cached(self.function, decorator).address


def threads_for(work):
    """How many threads a task deserves that goes through so many numbers."""
    return 1 if work < _SMALL else get_num_threads()


def run(worker, workers, *arguments):
    """Let each of the workers do its share, in a thread of its own.

    Arguments: integers, and arrays of up to 4 axes, without gaps unless read as `matrix`.
    """
    packed = array("q", [id(x) if isinstance(x, np.ndarray) else x for x in arguments])
    if (keep := getattr(_local, "keep", None)) is not None:
        keep(worker, workers, packed, arguments)
        return
    if workers == 1:
        _launch(worker.address, packed.buffer_info()[0], 1)
        return
    with parallel_lock:
        _launch(worker.address, packed.buffer_info()[0], workers)


@contextmanager
def kept(keep):
    """Inside this block, in this Python thread, no worker runs: each launch is handed to
    keep(worker, workers, the packed arguments, the arguments), see program.py.
    """
    _local.keep = keep
    try:
        yield
    finally:
        _local.keep = None


def as_line(x):
    """x as float32 (N,) without gaps."""
    return np.ascontiguousarray(x, np.float32).reshape(-1)


def as_table(x):
    """x (..., D) as float32 (N, D) without gaps."""
    rows = x.size // max(x.shape[-1], 1)
    return np.ascontiguousarray(x, np.float32).reshape(rows, x.shape[-1])


@njit(**INNER)
def share(count, worker, workers):
    """The part of range(count) that one worker takes, as (first, end)."""
    return worker * count // workers, (worker + 1) * count // workers


@njit(**INNER)
def part(x, worker, workers):
    """The part of an array of one axis that one worker takes, to loop over from 0.

    A loop from elsewhere does not become vector code: Numba cannot see that no index is negative.
    """
    first, end = share(x.size, worker, workers)
    return x[first:end]


@njit(**INNER)
def number(arguments, i):
    """The i-th argument, an integer."""
    return arguments[i]


@njit(**INNER)
def address(arguments, i):
    """Where the first number of the i-th argument lies."""
    return _at(arguments[i] + _DATA)


@njit(**INNER)
def size(arguments, i, axis):
    """How long the i-th argument is along an axis."""
    return _at(_at(arguments[i] + _SHAPE) + 8 * axis)


@njit(**INNER)
def stride(arguments, i, axis):
    """Bytes from one entry of the i-th argument to the next along an axis."""
    return _at(_at(arguments[i] + _STRIDES) + 8 * axis)


@njit(**INNER)
def line(arguments, i, dtype):
    """The i-th argument, an array of one axis."""
    return carray(pointer_to(address(arguments, i)), size(arguments, i, 0), dtype)


@njit(**INNER)
def table(arguments, i, dtype):
    """The i-th argument, an array of two axes."""
    shape = size(arguments, i, 0), size(arguments, i, 1)
    return carray(pointer_to(address(arguments, i)), shape, dtype)


@njit(**INNER)
def matrix(arguments, i, first, second):
    """Matrix [first, second] of the i-th argument, an array of four axes with any strides:

    (address, bytes from row to row, bytes from column to column).
    """
    steps = first * stride(arguments, i, 0) + second * stride(arguments, i, 1)
    return address(arguments, i) + steps, stride(arguments, i, 2), stride(arguments, i, 3)


@njit(**INNER)
def flag_at(address):
    """The bool at an address."""
    return carray(pointer_to(address), 1, bool_)[0]


@njit(**INNER)
def _at(place):
    return carray(pointer_to(place), 1, np.int64)[0]


@intrinsic
def pointer_to(typing, address):
    """An address as a pointer, for `numba.carray(pointer_to(address), shape, dtype)`."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@intrinsic
def call(typing, function, arguments, worker, workers):
    """Call the C function at an address."""

    def generate(context, builder, signature, values):
        kind = ir.FunctionType(ir.VoidType(), [POINTER, INT, INT])
        function = builder.inttoptr(values[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(values[1], POINTER), *values[2:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _start(function, arguments, workers):
    if workers == 1:
        call(function, arguments, 0, 1)
    else:
        for worker in prange(workers):
            call(function, arguments, worker, workers)


_launch = compile_cached(
    _start, partial(njit, types.void(*[types.int64] * 3), parallel=True, nogil=True)
)

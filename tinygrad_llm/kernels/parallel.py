"""The one parallel region, and the workers that run in it.

A worker is a function of (arguments, worker, workers) that does its share of a task, for worker = 0 ...
workers - 1. It is compiled at its first use, serially: a parallel region of its own would take Numba a
second more. Its arguments come packed as 64-bit integers; `number`, `line`, `table` and `heads` unpack them.
"""

import functools

import numpy as np
from numba import carray, cfunc, njit, prange, types
from numba.extending import intrinsic
from numpy.lib.stride_tricks import as_strided

from tinygrad_llm.kernels.polynomials import FASTMATH
from tinygrad_llm.kernels.simd import POINTER
from tinygrad_llm.kernels.threads import get_num_threads, parallel_lock

SMALL = 16_384  # numbers, below which a second thread costs more than it brings
_SLOT = 9  # integers for each argument: a number, or an address, up to 4 sizes and 4 strides
_ARGUMENTS = types.CPointer(types.int64)


class Worker:
    """A compiled share of a task; cached on disk, loaded or compiled at its first use."""

    # The cache does not see a change in a function of another file: clear __pycache__ after one.
    def __init__(self, function):
        self._function = function
        functools.update_wrapper(self, function)

    @functools.cached_property
    def address(self):
        signature = types.void(_ARGUMENTS, types.int64, types.int64)
        return cfunc(signature, cache=True, error_model="numpy", fastmath=FASTMATH)(self._function).address


def threads_for(work):
    """How many threads a task deserves that goes through so many numbers."""
    return 1 if work < SMALL else get_num_threads()


def run(worker, workers, *arguments):
    """Let the workers do their shares, each in a thread. Arguments: integers, and arrays of up to 4 axes.

    Arrays that the worker reads as `line` or `table` must have no gaps.
    """
    packed = np.zeros((len(arguments), _SLOT), np.int64)
    for slot, argument in zip(packed, arguments):
        if isinstance(argument, np.ndarray):
            n = argument.ndim
            slot[0], slot[1:n + 1], slot[5:n + 5] = argument.ctypes.data, argument.shape, argument.strides
        else:
            slot[0] = argument
    if workers == 1:
        _launch(worker.address, packed.ctypes.data, 1)
        return
    with parallel_lock:
        _launch(worker.address, packed.ctypes.data, workers)


@intrinsic
def _call(typing, function, arguments, worker, workers):
    """Call the function at an address."""
    def generate(context, builder, signature, values):
        from llvmlite import ir
        kind = ir.FunctionType(ir.VoidType(), [POINTER, ir.IntType(64), ir.IntType(64)])
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

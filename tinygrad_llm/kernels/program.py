"""Launches of workers that are kept, to be run again in one call: a token that a model writes takes
some 300 of them, and asking for each from Python would take as long as they do.
"""

from contextlib import contextmanager
from functools import cached_property, partial

import numpy as np
from numba import njit, prange, types

from tinygrad_llm.kernels.compiling import compile_cached
from tinygrad_llm.kernels.parallel import call, kept
from tinygrad_llm.kernels.threads import parallel_lock


class Program:
    """What workers did inside `with program.kept()`, to be done again on the same arrays, whatever
    they hold by then. Their values are computed by `run` alone.
    """

    def __init__(self):
        self._launches = []  # (worker, workers, packed arguments, arguments), which keep arrays

    @contextmanager
    def kept(self):
        """Inside this block launches are kept instead of made."""
        with kept(lambda *launch: self._launches.append(launch)):
            yield self

    def arguments_of(self, worker):
        """Those of each launch of a worker."""
        return [arguments for which, *_, arguments in self._launches if which is worker]

    @cached_property
    def _table(self):
        return np.array(
            [(w.address, packed.buffer_info()[0], n) for w, n, packed, _ in self._launches],
            np.int64,
        )

    def run(self):
        """Make all launches, one after another."""
        with parallel_lock:
            _all_launches()(self._table)


def _start_all(table):
    for i in range(len(table)):
        function, arguments, workers = table[i, 0], table[i, 1], table[i, 2]
        if workers == 1:
            call(function, arguments, 0, 1)
        else:
            for worker in prange(workers):
                call(function, arguments, worker, workers)


_compiled = []


def _all_launches():
    """_start_all, compiled or loaded at the first call."""
    if not _compiled:
        signature = types.void(types.int64[:, ::1])
        decorator = partial(njit, signature, parallel=True, nogil=True)
        _compiled.append(compile_cached(_start_all, decorator))
    return _compiled[0]

"""How kernels are compiled, and kept between processes in Numba's cache."""

import functools
import warnings
from functools import partial
from pathlib import Path

from numba import config, njit, typeof
from numba.core.caching import FunctionCache
from numba.core.event import Listener, register

# Sums may be reordered into vectors, but NaN and infinity keep their meaning: masks are -inf.
FASTMATH = {"contract", "reassoc", "arcp", "nsz", "afn"}

# For functions that compiled code alone calls: without the wrapper for Python, a third faster.
INNER = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@functools.cache
def tell_before_compiling(tell):
    """Call tell() once in this process, when a kernel is about to be compiled and is not in the
    cache.
    """
    register("numba:run_pass", _First(tell))


class _First(Listener):
    """Numba tells of every pass of its compiler."""

    def __init__(self, tell):
        self.tell = tell

    def on_start(self, event):
        tell, self.tell = self.tell, None
        if tell is not None:
            tell()

    def on_end(self, event):
        pass


def compile_cached(function, decorator):
    """decorator(cache=True)(function), in whatever state the cache is.

    decorator: numba.njit or numba.cfunc with its settings. An entry that cannot be read is dropped
    and compiled again; where nothing can be written, nothing is kept. A RuntimeWarning says so.
    """
    try:
        return _compile_again_if_damaged(function, decorator)
    except (OSError, RuntimeError):  # RuntimeError: Numba found no folder that it may write
        _tell_nothing_is_kept()
    return decorator(cache=False)(function)


class Compiled:
    """A function that Python calls, compiled or loaded at its first call for the arguments' types.

    It lets other Python threads run meanwhile.
    """

    def __init__(self, function):
        self.function, self._compiled = function, None

    def __call__(self, *arguments):
        if self._compiled is None:
            signature = tuple(map(typeof, arguments))
            self._compiled = compile_cached(self.function, partial(njit, signature, nogil=True))
        return self._compiled(*arguments)


# Once, not for every kernel: Numba resets what Python knows of warnings given.
@functools.cache
def _tell_nothing_is_kept():
    wanted = f", NUMBA_CACHE_DIR {config.CACHE_DIR} included" if config.CACHE_DIR else ""
    warnings.warn(
        "compiled kernels cannot be kept, so every start compiles them: no folder for them can "
        f"be written{wanted}, or the disk is full; set NUMBA_CACHE_DIR to a folder of yours",
        RuntimeWarning,
    )


@functools.cache
def _tell_kept_elsewhere(wanted, folder):
    warnings.warn(
        f"NUMBA_CACHE_DIR {wanted} cannot be written; compiled kernels are kept in {folder} "
        "instead; set it to a folder of yours",
        RuntimeWarning,
    )


def _compile_again_if_damaged(function, decorator):
    entries = FunctionCache(function)
    # Numba takes another folder in silence.
    if config.CACHE_DIR and not Path(entries.cache_path).is_relative_to(config.CACHE_DIR):
        _tell_kept_elsewhere(config.CACHE_DIR, entries.cache_path)
    try:
        return decorator(cache=True)(function)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        name = function.__qualname__
        warnings.warn(f"{name}: cached code is damaged ({error}); compiling again", RuntimeWarning)
    entries.flush()
    return decorator(cache=True)(function)

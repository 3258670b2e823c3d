"""Every kernel compiled, or loaded from the cache, before somebody waits for it."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple


PACKAGE = "tinygrad_llm.kernels"


class Kernel(NamedTuple):
    """How a part of the kernels came to be: "imported", "compiled" or "loaded" from the cache."""

    name: str
    how: str
    seconds: float


def warm_up() -> Iterator[Kernel]:
    """Make every kernel ready in this process, one at a time."""
    yield _imported("numba")
    yield _made("parallel region", lambda: importlib.import_module(f"{PACKAGE}.parallel"))
    paths = importlib.util.find_spec(PACKAGE).submodule_search_locations
    for file in pkgutil.iter_modules(paths):
        yield from _workers(importlib.import_module(f"{PACKAGE}.{file.name}"))
    yield _made("tokenizers", _use_a_tokenizer)


def fresh_start_seconds() -> float:
    """Seconds that a new process takes until every kernel is ready, its own start included."""
    code = "from tinygrad_llm.recipes.warmup import warm_up; list(warm_up())"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def _workers(module: ModuleType) -> Iterator[Kernel]:
    """The workers that a file of kernels defines."""
    from tinygrad_llm.kernels.parallel import Worker

    file = module.__name__.rpartition(".")[2]
    for value in vars(module).values():
        if isinstance(value, Worker) and value.function.__module__ == module.__name__:
            name = f"{file}.{value.function.__name__.lstrip('_')}"
            yield _made(name, lambda worker=value: worker.address)


def _use_a_tokenizer() -> None:
    """Learn and encode a little; compiled code does it, for Numba is loaded."""
    from tinygrad_llm.text import BPETokenizer

    BPETokenizer.train(["low low lower"], 260).encode("lower")


def _imported(package: str) -> Kernel:
    start = time.perf_counter()
    importlib.import_module(package)
    return Kernel(package, "imported", time.perf_counter() - start)


def _made(name: str, make: Callable[[], object]) -> Kernel:
    """Run what makes a kernel. Numba tells of every pass of its compiler; a cached kernel has
    none.
    """
    from numba.core.event import install_recorder

    start = time.perf_counter()
    with install_recorder("numba:run_pass") as passes:
        make()
    how = "compiled" if passes.buffer else "loaded"
    return Kernel(name, how, time.perf_counter() - start)

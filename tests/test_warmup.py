"""Warming up reaches every kernel and says truly which ones were compiled."""

import importlib
import pkgutil
import re

import numba
from numba import int64, njit

from tests.test_cli import refuse
from tinygrad_llm.cli.main import main
from tinygrad_llm.kernels.parallel import Worker
from tinygrad_llm.recipes import warmup


def every_worker():
    """The names of all workers, found by looking at each file's source."""
    paths = importlib.util.find_spec(warmup.PACKAGE).submodule_search_locations
    for file in pkgutil.iter_modules(paths):
        lines = importlib.util.find_spec(f"{warmup.PACKAGE}.{file.name}").loader.get_source(None)
        parts = lines.split("@Worker\ndef ")[1:]
        yield from (f"{file.name}.{part.partition('(')[0].lstrip('_')}" for part in parts)


def test_every_worker_is_ready_afterwards():
    made = {kernel.name: kernel for kernel in warmup.warm_up()}
    assert set(every_worker()) <= set(made) and len(made) > 10
    assert made["numba"].how == "imported"
    module = importlib.import_module(f"{warmup.PACKAGE}.optimizer")
    workers = [x for x in vars(module).values() if isinstance(x, Worker)]
    assert workers and all("address" in vars(worker) for worker in workers)
    assert all(kernel.how != "compiled" for kernel in warmup.warm_up())  # a second time


def test_compiled_and_loaded_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def twice(x):
        return x + x

    hows = [
        warmup._made("twice", lambda: njit(int64(int64), cache=True)(twice)).how for _ in range(2)
    ]
    assert hows == ["compiled", "loaded"]


def test_the_command(capsys):
    assert main(["warmup"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("optimizer.adamw") for line in lines)
    assert sum(" kernels " in line for line in lines) >= 1
    seconds = re.fullmatch(r"a new process has them all (.*) s after its start", lines[-1])[1]
    assert 0.1 < float(seconds) < 60


def test_mistakes(capsys):
    assert "--help" in refuse(capsys, 2, "warmup", "now")

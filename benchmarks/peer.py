"""A contender in a process of its own. Between its turns it waits for a line and uses no core, and
its peak of memory is its own.

The protocol: a line {"method": ..., arguments} in, a line {"value": ...} or {"error": ...} out.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine

ROOT = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """The variables of a contender's process: without how long idle OpenMP threads spin, which our
    kernels set for themselves as they load, and which PyTorch would inherit.
    """
    return {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}


class Peer:
    """The parent's side: `call` runs a method over there and returns what it returned.

    factory: "module:Class", made there with the settings. threads: the process sees so many cores,
    so every library in it means it.
    """

    def __init__(self, factory: str, *, threads: int | None = None, **settings: Any):
        self.factory = factory
        words = [factory, str(threads or machine.cores()), json.dumps(settings)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    def call(self, method: str, **arguments: Any) -> Any:
        """Raises RuntimeError, with the other side's own words, where that failed or ended."""
        try:
            print(json.dumps({"method": method, **arguments}), file=self.process.stdin, flush=True)
            reply = self.process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            raise RuntimeError(f"{self.factory} ended with code {self.process.wait()}")
        answer = json.loads(reply)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # a last request that a dead process left
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve(factory: str, threads: str, settings: str) -> None:
    """The child's side: make the contender and obey until the parent closes the line."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to stderr, not among the replies
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    module, _, name = factory.partition(":")
    contender = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if contender is None:
                contender = getattr(importlib.import_module(module), name)(**json.loads(settings))
            answer = {"value": getattr(contender, request.pop("method"))(**request)}
        except Exception as error:  # whatever a library does not like: the parent decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])

"""tinygrad-llm warmup: compile every kernel now, so that no run waits for it."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "warmup",
        "Compile every kernel, or load it from the cache, and say how long that took.",
        "tinygrad-llm warmup",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.warmup import fresh_start_seconds, warm_up

    made = []
    for kernel in warm_up():
        made.append(kernel)
        print(f"{kernel.how:<9} {kernel.seconds:7.2f} s  {kernel.name}", flush=True)
    for how in ("compiled", "loaded"):
        seconds = [kernel.seconds for kernel in made if kernel.how == how]
        if seconds:
            print(f"{len(seconds)} kernels {how} in {sum(seconds):.2f} s")
    print(f"a new process has them all {fresh_start_seconds():.2f} s after its start")

"""tinygrad-llm profile: where the time of a training step goes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from tinygrad_llm.cli.options import add_command, add_set, add_threads, apply_threads
from tinygrad_llm.errors import InputError

if TYPE_CHECKING:
    from tinygrad_llm.recipes.profile import Profile


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "profile",
        "The time of a training step, operation by operation, beside the machine's limits.",
        "tinygrad-llm profile --preset char-cpu --steps 20 --set batch_size=8",
    )
    parser.add_argument(
        "--preset", default="char-cpu", metavar="NAME", help="as for pretrain (default: char-cpu)"
    )
    parser.add_argument(
        "--steps", type=int, default=10, metavar="N", help="steps to time (default: 10)"
    )
    add_set(parser, "n_layer=6")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.profile import profile
    from tinygrad_llm.recipes.settings import preset

    if args.steps < 1:
        raise InputError(f"--steps {args.steps}: at least one step is needed")
    settings = preset(args.preset).assigned(args.assignments)
    apply_threads(args)
    print(f"timing {args.steps} steps of {args.preset} ...", file=sys.stderr)
    found = profile(settings, args.steps)
    print(json.dumps(dataclasses.asdict(found)) if args.json else "\n".join(table(found)))


def table(found: Profile) -> list[str]:
    """The rows, what is outside of them, the whole step, Python's share, and the limits."""
    lines = [
        f"{'operation':<30}{'pass':<10}{'calls':>6}{'ms':>10}{'share':>8}{'GFLOP/s':>9}{'GB/s':>7}"
    ]
    for row in found.rows:
        lines.append(
            f"{row.op:<30}{row.direction:<10}{row.calls:>6.0f}{_time(found, row.seconds)}"
            f"{_cell(row.gflops, 9)}{_cell(row.gigabytes_per_second, 7)}"
        )
    limits = found.limits
    return [
        *lines,
        f"{'outside the operations':<46}{_time(found, found.outside)}",
        f"{'a step':<46}{_time(found, found.step)}   {found.tokens / found.step:,.0f} tokens/s",
        f"{'this machine at its best':<64}"
        f"{_cell(limits.gflops, 9)}{_cell(limits.gigabytes_per_second, 7)}",
        f"Python's share is about {found.python * 1e3:.2f} ms ({found.python / found.step:.1%}): "
        "the same step on arrays of a few numbers",
    ]


def _time(found: Profile, seconds: float) -> str:
    return f"{seconds * 1e3:>10.3f}{seconds / found.step:>8.1%}"


def _cell(value: float, width: int) -> str:
    return f"{value:>{width}.1f}" if value else f"{'-':>{width}}"

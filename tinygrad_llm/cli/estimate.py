"""tinygrad-llm estimate: what a run will cost before it starts."""

from __future__ import annotations

import argparse
import json
import sys

from tinygrad_llm.cli.options import add_command, add_set, add_threads, apply_threads


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "estimate",
        "Parameters, operations, memory and minutes of a run.",
        "tinygrad-llm estimate --preset gpt2 --steps 1000 --set batch_size=4",
    )
    parser.add_argument(
        "--preset", default="default", metavar="NAME", help="as for pretrain (default: default)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    add_set(parser, "n_layer=6")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a line")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.forecast import forecast
    from tinygrad_llm.recipes.settings import preset

    apply_threads(args)
    settings = preset(args.preset).assigned(args.assignments)
    if args.steps is not None:
        settings = settings.updated({"steps": args.steps})
    print("timing one and two layers on this machine ...", file=sys.stderr)
    cost = forecast(settings)
    print(json.dumps(vars(cost)) if args.json else cost)

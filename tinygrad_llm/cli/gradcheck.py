"""tinygrad-llm gradcheck: is every gradient right? Central differences in float64 answer."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "gradcheck",
        "Compare each operation's gradient with central differences.",
        "tinygrad-llm gradcheck softmax layer_norm",
    )
    parser.add_argument(
        "operations", nargs="*", metavar="OP", help="which operations (default: all)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tinygrad_llm.recipes.gradcheck import TOLERANCE, check_operations

    wrong = 0
    for name, error in check_operations(args.operations):
        good = error <= TOLERANCE
        wrong += not good
        print(f"{name:<30} {error:8.1e}  {'right' if good else 'WRONG'}")
    print(f"{wrong} wrong" if wrong else f"all right: every relative error is below {TOLERANCE:g}")
    return 1 if wrong else 0

"""tinygrad-llm evaluate: how well a model predicts a text."""

from __future__ import annotations

import argparse
import json

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "evaluate",
        "Loss, perplexity and bits per byte of a model on text.",
        "tinygrad-llm evaluate runs/gpt --data book.txt --json",
    )
    parser.add_argument("model", metavar="DIR", help="a run folder or another Hugging Face folder")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="PATH", help="text files, folders, globs, or -"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.evaluate import evaluate_folder

    apply_threads(args)
    score = evaluate_folder(args.model, args.data, reporter=TerminalReporter())
    row = {
        "loss": score.loss,
        "perplexity": score.perplexity,
        "bits_per_byte": score.bits_per_byte,
        "tokens": score.tokens,
    }
    if args.json:
        print(json.dumps(row))
    else:
        for name, value in row.items():
            print(f"{name:<14} {value:,}" if name == "tokens" else f"{name:<14} {value:,.4f}")

"""tinygrad-llm fill-mask: the words that an encoder would put at each [MASK]."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads, text_or_stdin


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "fill-mask",
        "The best tokens for each [MASK] in a text, with their probabilities.",
        "tinygrad-llm fill-mask runs/bert 'The imp[MASK]rt statement finds a mod[MASK]le.'",
    )
    parser.add_argument("model", metavar="DIR", help="the folder of a BERT with its head")
    parser.add_argument("text", metavar="TEXT", help="with [MASK] in it; - reads standard input")
    parser.add_argument(
        "--best", type=int, default=5, metavar="N", help="how many tokens (default: 5)"
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.inference.encode import fill_masks
    from tinygrad_llm.recipes.models import open_masked

    apply_threads(args)
    text = text_or_stdin(args.text).strip()
    for i, guesses in enumerate(fill_masks(*open_masked(args.model), text, best=args.best), 1):
        print(f"[MASK] {i}:")
        for word, probability in guesses:
            print(f"  {probability:6.1%}  {word!r}")

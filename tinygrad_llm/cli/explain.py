"""tinygrad-llm explain: what a model looks at, and how its gradient comes about, as files to
open.
"""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "explain",
        "Attention maps, the graph, and a replay of the backward pass, of one text.",
        "tinygrad-llm explain runs/gpt --prompt 'The import statement' --out explained",
    )
    parser.add_argument("model", metavar="DIR", help="a run folder or another Hugging Face folder")
    parser.add_argument(
        "--prompt", required=True, metavar="TEXT", help="the text that the model reads"
    )
    parser.add_argument(
        "--out", default="explained", metavar="DIR", help="where the files go (default: explained)"
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.explain import explain_text

    apply_threads(args)
    files = explain_text(args.model, args.prompt, args.out, TerminalReporter())
    for path, purpose in files:
        print(f"{path}: {purpose}")

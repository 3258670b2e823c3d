"""tinygrad-llm quantize: a model's weights in 8 or 4 bits."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "quantize",
        "A model's folder again with its weights in 8 or 4 bits: smaller, and faster to generate.",
        "tinygrad-llm quantize models/smollm2 models/smollm2-8bit --bits 8 --data book.txt",
    )
    parser.add_argument("model", metavar="DIR", help="the folder of a GPT or a Llama")
    parser.add_argument("folder", metavar="OUT", help="the new folder")
    parser.add_argument(
        "--bits", type=int, choices=(8, 4), default=8, help="of a weight (default: 8)"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=(),
        metavar="PATH",
        help="text on which the loss before and after is measured: files, folders, globs, or -",
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.quantize import quantize_folder

    apply_threads(args)
    reporter = TerminalReporter()
    done = quantize_folder(
        args.model, args.folder, bits=args.bits, data=args.data, reporter=reporter
    )
    before, after = done.before / 1e6, done.after / 1e6
    share = f"{after / before:.0%}"
    print(f"{args.folder}: {before:,.1f} MB of weights became {after:,.1f} MB ({share})")
    if done.scores is not None:
        for name in ("loss", "perplexity"):
            old, new = (getattr(score, name) for score in done.scores)
            print(f"{name:<11} {old:,.4f} became {new:,.4f} ({new - old:+.4f})")
    for note in done.notes:
        print(f"note: {note}")

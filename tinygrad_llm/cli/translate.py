"""tinygrad-llm translate: texts in, their translations out, a line each."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads, text_or_stdin


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "translate",
        "Translate texts, a line each, with a model of train-translation.",
        "tinygrad-llm translate runs/en-de 'A man rides a bicycle.' --attention map.svg",
    )
    parser.add_argument("model", metavar="DIR", help="a run folder or another Marian folder")
    parser.add_argument(
        "text",
        nargs="?",
        default="-",
        metavar="TEXT",
        help="a line for each text; - or nothing reads standard input",
    )
    parser.add_argument(
        "--beam", type=int, metavar="N", help="beams of the search; 1 is greedy (default: 5)"
    )
    parser.add_argument(
        "--length-penalty",
        type=float,
        metavar="X",
        help="the alpha of Wu et al. 2016: larger favours longer texts (default: 0.6)",
    )
    parser.add_argument(
        "--attention",
        metavar="FILE.svg",
        help="draw what each token of the translation of one text reads of it",
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.translate import translate_lines

    apply_threads(args)
    given = {"num_beams": args.beam, "length_penalty": args.length_penalty}
    chosen = {name: value for name, value in given.items() if value is not None}
    texts = text_or_stdin(args.text).removesuffix("\n").split("\n")
    for line in translate_lines(
        args.model, texts, attention=args.attention, reporter=TerminalReporter(), **chosen
    ):
        print(line)

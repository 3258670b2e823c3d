"""tinygrad-llm classify: the label of a text, with the probability of each."""

from __future__ import annotations

import argparse
import json

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads, text_or_stdin


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "classify",
        "The label of a text, by a classifier that finetune classify made.",
        "tinygrad-llm classify runs/spam 'You have won a free phone!'",
    )
    parser.add_argument("model", metavar="DIR", help="the folder of a classifier")
    parser.add_argument("text", metavar="TEXT", help="the text, or - for standard input")
    parser.add_argument("--lines", action="store_true", help="each line is a text of its own")
    parser.add_argument("--json", action="store_true", help="a JSON object for each text")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.classify import classify

    apply_threads(args)
    text = text_or_stdin(args.text)
    texts = [line for line in text.split("\n") if line.strip()] if args.lines else [text]
    found = classify(args.model, texts or [text])
    for label, row in zip(found.best(), found.probabilities.tolist(), strict=True):
        p = dict(zip(found.labels, row, strict=True))
        if args.json:
            print(json.dumps({"label": label, "probabilities": p}, ensure_ascii=False))
        else:
            order = sorted(p, key=p.get, reverse=True)
            print(label, *(f"{name} {p[name]:.4f}" for name in order), sep="\t")

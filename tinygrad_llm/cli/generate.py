"""tinygrad-llm generate: the model goes on with a prompt."""

from __future__ import annotations

import argparse
import sys

from tinygrad_llm.cli.options import (
    add_command,
    add_sampling,
    add_threads,
    apply_threads,
    sampling_of,
    text_or_stdin,
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "generate",
        "Go on with a prompt; the text appears as it is written.",
        "tinygrad-llm generate runs/gpt --prompt 'The ' --temperature 0.8 --top-k 50 --seed 1",
    )
    parser.add_argument("model", metavar="DIR", help="a run folder or another Hugging Face folder")
    parser.add_argument(
        "--prompt", required=True, metavar="TEXT", help="what to go on with; - reads standard input"
    )
    add_sampling(parser, max_new_tokens="100")
    parser.add_argument(
        "--num-beams", type=int, metavar="N", help="search with N beams instead of drawing"
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.generate import continue_prompt

    apply_threads(args)
    chosen = sampling_of(args)
    if args.num_beams is not None:
        chosen["num_beams"] = args.num_beams
    prompt = text_or_stdin(args.prompt)
    pieces = continue_prompt(args.model, prompt, seed=args.seed, **chosen)
    sys.stdout.write(prompt)
    for text in pieces:
        sys.stdout.write(text)
        sys.stdout.flush()
    sys.stdout.write("\n")

"""tinygrad-llm generate: the model goes on with a prompt."""

from __future__ import annotations

import argparse
import sys

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads, text_or_stdin


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
    parser.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="stop after so many tokens (default: 100)"
    )
    parser.add_argument(
        "--temperature", type=float, metavar="X", help="0 always takes the best token (default: 1)"
    )
    parser.add_argument(
        "--top-k", type=int, metavar="N", help="draw from the N best tokens; 0 for all"
    )
    parser.add_argument(
        "--top-p",
        type=float,
        metavar="X",
        help="draw from the fewest tokens of probability X together",
    )
    parser.add_argument(
        "--repetition-penalty",
        type=float,
        metavar="X",
        help="above 1: what stands already is less likely",
    )
    parser.add_argument(
        "--num-beams", type=int, metavar="N", help="search with N beams instead of drawing"
    )
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="end before this text; repeatable",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)"
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.generate import continue_prompt

    apply_threads(args)
    names = ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "num_beams")
    chosen = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.stop:
        chosen["stop_strings"] = tuple(args.stop)
    prompt = text_or_stdin(args.prompt)
    pieces = continue_prompt(args.model, prompt, seed=args.seed, **chosen)
    sys.stdout.write(prompt)
    for text in pieces:
        sys.stdout.write(text)
        sys.stdout.flush()
    sys.stdout.write("\n")

"""Flags that several commands share."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tinygrad_llm.errors import InputError


def add_command(
    commands: argparse._SubParsersAction, name: str, purpose: str, example: str
) -> argparse.ArgumentParser:
    """A command with a one-line purpose and an example under its --help."""
    return commands.add_parser(
        name, help=purpose, description=purpose, epilog=f"example: {example}"
    )


def text_or_stdin(text: str) -> str:
    """The text, or for - what standard input holds, which must be UTF-8."""
    from tinygrad_llm.data.sources import STDIN, read_texts

    return "".join(read_texts(STDIN)) if text == STDIN else text


def add_sampling(parser: argparse.ArgumentParser, *, max_new_tokens: str) -> None:
    """How tokens are drawn: --max-new-tokens, whose help names this default, to --seed."""
    number, real = {"type": int, "metavar": "N"}, {"type": float, "metavar": "X"}
    flags = {
        "max-new-tokens": (number, f"stop after so many tokens (default: {max_new_tokens})"),
        "temperature": (real, "0 always takes the best token (default: the model's, or 1)"),
        "top-k": (number, "draw from the N best tokens; 0 for all"),
        "top-p": (real, "draw from the fewest tokens of probability X together"),
        "repetition-penalty": (real, "above 1: what stands already is less likely"),
    }
    for name, (kind, purpose) in flags.items():
        parser.add_argument(f"--{name}", help=purpose, **kind)
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


def sampling_of(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of GenerationConfig that the flags of add_sampling give."""
    names = ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty")
    chosen = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return chosen | ({"stop_strings": tuple(args.stop)} if args.stop else {})


def add_set(parser: argparse.ArgumentParser, example: str) -> None:
    """--set, whose values are args.assignments."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="assignments",
        help=f"any setting, such as {example}; repeatable; a wrong key lists what there is",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads, for NumPy and kernels alike (default: all)",
    )


def apply_threads(args: argparse.Namespace) -> None:
    """Bring BLAS and Numba to the wanted number of threads, and say so if kernels compile."""
    from tinygrad_llm.kernels.threads import set_num_threads

    if args.threads is not None:
        if args.threads < 1:
            raise InputError(f"--threads {args.threads}: at least one thread is needed")
        set_num_threads(args.threads)
    announce_compiling()


def announce_compiling() -> None:
    """From here on, the first kernel that is not in the cache brings a line on standard error."""
    from tinygrad_llm.kernels.compiling import tell_before_compiling

    tell_before_compiling(_say_compiling)


def _say_compiling() -> None:
    print("compiling kernels, which takes up to half a minute and is kept ...", file=sys.stderr)

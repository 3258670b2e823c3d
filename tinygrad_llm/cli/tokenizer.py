"""tinygrad-llm tokenizer: train a byte-pair vocabulary, and see what it makes of a text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_llm.cli.options import add_command, text_or_stdin
from tinygrad_llm.errors import InputError

if TYPE_CHECKING:
    from tinygrad_llm.text import Tokenizer

_SAMPLE = 1_000_000  # characters that the summary is made on


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "tokenizer",
        "Train a tokenizer, or use one on text.",
        "tinygrad-llm tokenizer train --data book.txt --vocab-size 1024 --out tokenizer.json",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    _add_train(actions)
    _add_show(actions)
    _add_encode(actions)
    _add_decode(actions)


def _add_train(actions: argparse._SubParsersAction) -> None:
    train = add_command(
        actions,
        "train",
        "Learn a byte-pair vocabulary from text.",
        "tinygrad-llm tokenizer train --data book.txt --vocab-size 1024 --out tokenizer.json",
    )
    train.add_argument(
        "--data",
        nargs="+",
        metavar="PATH",
        help="text files, folders, globs, or - (default: Python's manual)",
    )
    train.add_argument(
        "--vocab-size",
        type=int,
        default=1024,
        metavar="N",
        help="tokens, 256 bytes included (default: 1024)",
    )
    train.add_argument(
        "--special",
        action="append",
        default=[],
        metavar="TOKEN",
        help="a special token; repeatable",
    )
    train.add_argument(
        "--out",
        default="tokenizer.json",
        metavar="FILE",
        help="where to write it (default: tokenizer.json)",
    )
    train.set_defaults(run=run_train)


def _add_show(actions: argparse._SubParsersAction) -> None:
    show = _on_text(
        actions,
        "show",
        "See how a text is cut into tokens: in colour, as a page, or merge by merge.",
        "tinygrad-llm tokenizer show tokenizer.json 'Hello world' --html tokens.html",
    )
    show.add_argument("--html", metavar="FILE", help="write a page to look at in a browser")
    show.add_argument("--merges", action="store_true", help="each merge of TEXT, a single word")
    show.set_defaults(run=run_show)


def _add_encode(actions: argparse._SubParsersAction) -> None:
    example = "tinygrad-llm tokenizer encode tokenizer.json 'Hello world'"
    _on_text(actions, "encode", "Text to ids.", example).set_defaults(run=run_encode)


def _add_decode(actions: argparse._SubParsersAction) -> None:
    example = "tinygrad-llm tokenizer decode tokenizer.json 15496 995"
    decode = add_command(actions, "decode", "Ids to text.", example)
    _with_tokenizer(decode)
    decode.add_argument("ids", nargs="+", metavar="ID", help="the ids; - reads standard input")
    decode.set_defaults(run=run_decode)


def _on_text(
    actions: argparse._SubParsersAction, name: str, purpose: str, example: str
) -> argparse.ArgumentParser:
    """An action on a tokenizer and a text."""
    parser = add_command(actions, name, purpose, example)
    _with_tokenizer(parser)
    parser.add_argument("text", metavar="TEXT", help="the text; - reads standard input")
    return parser


def _with_tokenizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "tokenizer", metavar="FILE", help="a tokenizer.json, or a folder that holds one"
    )


def run_train(args: argparse.Namespace) -> None:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.corpus import corpus_texts
    from tinygrad_llm.text import BPETokenizer, chunks

    if not Path(args.out).absolute().parent.is_dir():
        raise InputError(f"--out {args.out}: its folder does not exist; make it first")
    reporter, sample = TerminalReporter(), []
    tokenizer = BPETokenizer.train(
        _sampled(chunks(corpus_texts(args.data)), sample),
        args.vocab_size,
        special_tokens=args.special,
        progress=reporter.advanced,
    )
    reporter.close()
    tokenizer.save(args.out)
    fewer = tokenizer.vocab_size < args.vocab_size
    reason = f" (the text has no more pairs for {args.vocab_size:,})" if fewer else ""
    print(f"{args.out}: {tokenizer.vocab_size:,} tokens{reason}")
    print("\n".join(summary(tokenizer, "".join(sample))))


def _sampled(texts: Iterable[str], sample: list[str]) -> Iterator[str]:
    """The texts; the first _SAMPLE characters go into the sample, too."""
    room = _SAMPLE
    for text in texts:
        sample.append(text[:room])
        room -= len(sample[-1])
        yield text


def summary(tokenizer: Tokenizer, text: str) -> list[str]:
    """What a vocabulary is worth on a text: bytes per token, its longest tokens, and coverage."""
    from tinygrad_llm.explain.tokens import printable
    from tinygrad_llm.text import token_lengths

    ids = tokenizer.encode(text)
    lengths, used = token_lengths(tokenizer), len(set(ids))
    longest = sorted(range(tokenizer.vocab_size), key=lambda i: -lengths[i])[:8]
    shown = ", ".join(printable(tokenizer.token_bytes(i)) for i in longest)
    size = len(text.encode("utf-8", "replace"))
    return [
        f"{size / max(len(ids), 1):.2f} bytes per token on {size:,} bytes of the text",
        f"longest tokens: {shown}",
        f"coverage: {used:,} of the tokens occur there ({used / tokenizer.vocab_size:.0%})",
    ]


def run_show(args: argparse.Namespace) -> None:
    from tinygrad_llm.explain.tokens import coloured, merge_steps, page, printable
    from tinygrad_llm.files import write_atomic
    from tinygrad_llm.text import load_tokenizer

    tokenizer, text = load_tokenizer(args.tokenizer), text_or_stdin(args.text)
    if args.merges:
        for parts in merge_steps(tokenizer, text):
            print(" | ".join(map(printable, parts)))
        return
    ids = tokenizer.encode(text)
    print(coloured(tokenizer, text))
    size = len(text.encode("utf-8", "replace"))
    print(f"{len(ids):,} tokens, {size / max(len(ids), 1):.2f} bytes a token")
    if args.html:
        write_atomic(args.html, page(tokenizer, text))
        print(args.html)


def run_encode(args: argparse.Namespace) -> None:
    from tinygrad_llm.text import load_tokenizer

    print(*load_tokenizer(args.tokenizer).encode(text_or_stdin(args.text)))


def run_decode(args: argparse.Namespace) -> None:
    from tinygrad_llm.text import load_tokenizer

    words = text_or_stdin("-").split() if args.ids == ["-"] else args.ids
    wrong = next((word for word in words if not (word.isdecimal() and len(word) < 20)), None)
    if wrong is not None:
        raise InputError(f"{wrong!r:.60} is not a token id; ids are whole numbers")
    sys.stdout.write(load_tokenizer(args.tokenizer).decode([int(word) for word in words]) + "\n")

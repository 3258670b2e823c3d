"""tinygrad-llm tokenizer: train a byte-pair vocabulary, and see what it makes of a text."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tinygrad_llm.cli.options import add_command, text_or_stdin
from tinygrad_llm.errors import InputError


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "tokenizer",
        "Train a tokenizer, or use one on text.",
        "tinygrad-llm tokenizer train --data book.txt --vocab-size 1024 --out tokenizer.json",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
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
    encode = add_command(
        actions,
        "encode",
        "Text to ids.",
        "tinygrad-llm tokenizer encode tokenizer.json 'Hello world'",
    )
    encode.add_argument(
        "tokenizer", metavar="FILE", help="a tokenizer.json, or a folder that holds one"
    )
    encode.add_argument("text", metavar="TEXT", help="the text; - reads standard input")
    encode.set_defaults(run=run_encode)
    decode = add_command(
        actions, "decode", "Ids to text.", "tinygrad-llm tokenizer decode tokenizer.json 15496 995"
    )
    decode.add_argument(
        "tokenizer", metavar="FILE", help="a tokenizer.json, or a folder that holds one"
    )
    decode.add_argument("ids", nargs="+", metavar="ID", help="the ids; - reads standard input")
    decode.set_defaults(run=run_decode)


def run_train(args: argparse.Namespace) -> None:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.corpus import corpus_texts
    from tinygrad_llm.text import BPETokenizer, chunks

    if not Path(args.out).absolute().parent.is_dir():
        raise InputError(f"--out {args.out}: its folder does not exist; make it first")
    reporter, texts = TerminalReporter(), chunks(corpus_texts(args.data))
    tokenizer = BPETokenizer.train(
        texts, args.vocab_size, special_tokens=args.special, progress=reporter.learned
    )
    reporter.close()
    tokenizer.save(args.out)
    fewer = tokenizer.vocab_size < args.vocab_size
    reason = f" (the text has no more pairs for {args.vocab_size:,})" if fewer else ""
    print(f"{args.out}: {tokenizer.vocab_size:,} tokens{reason}")


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

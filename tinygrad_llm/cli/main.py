"""The command `tinygrad-llm`: flags in, one recipe call, lines out.

Exit codes: 0 done, 1 training broke down, 2 a mistake the user can mend, 4 disk full, 128 + n
stopped by signal n.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
from typing import NoReturn

from tinygrad_llm.cli import (
    bench,
    chat,
    classify,
    doctor,
    embed,
    estimate,
    evaluate,
    explain,
    fill_mask,
    finetune,
    generate,
    gradcheck,
    import_,
    pretrain,
    profile,
    quantize,
    tokenizer,
    train_translation,
    translate,
    warmup,
)
from tinygrad_llm.errors import InputError, NonFiniteLoss

COMMANDS = (
    pretrain,
    train_translation,
    finetune,
    import_,
    quantize,
    generate,
    chat,
    translate,
    classify,
    embed,
    fill_mask,
    evaluate,
    tokenizer,
    explain,
    gradcheck,
    estimate,
    bench,
    profile,
    warmup,
    doctor,
)


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is answered with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each command's file adds its own part."""
    parser = Parser(
        prog="tinygrad-llm",
        description="Train, run and look inside language models on a CPU.",
        epilog="example: tinygrad-llm pretrain --data book.txt --out runs/book",
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, dest="command"
    )
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character gets another
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        args = build_parser().parse_args(argv)
        code = args.run(args) or 0
        sys.stdout.flush()  # at exit it would be too late for an answer to a full disk
        return code
    except InputError as error:
        return _fail(str(error), 2)
    except NonFiniteLoss as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads; leave without Python's complaint about it
        return 128 + signal.SIGPIPE
    except MemoryError as error:
        return _fail(f"too little memory ({error}); take a smaller model or batch", 2)
    except OSError as error:
        _drop_output()
        if error.errno == errno.ENOSPC:
            return _fail(
                f"no space left on the disk{_at(error)}; free some and run again "
                "(training: with --resume)",
                4,
            )
        return _fail(f"{error.strerror or error}{_at(error)}", 2)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _terminate(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _drop_output() -> None:
    """Forget what standard output does not take, or Python tries again at exit and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _at(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def _fail(message: str, code: int) -> int:
    print(f"tinygrad-llm: error: {' '.join(message.split())}", file=sys.stderr)
    return code

"""Flags that every fine-tuning has beside those of every training."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tinygrad_llm.cli.run_flags import add_out, add_run, run_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_llm.recipes.settings import S

FLAGS = ("base", "data", "epochs", "lr", "patience", "seed")


def add_tuning(parser: argparse.ArgumentParser, *, data: str, out: str) -> None:
    """BASE, --data with the help `data`, --out with the default `out`, --epochs to --threads."""
    parser.add_argument(
        "base", metavar="BASE", help="a Hugging Face folder, a .gguf file, smollm2 or minilm"
    )
    parser.add_argument("--data", required=True, metavar="FILE", help=data)
    add_out(parser, out)
    parser.add_argument("--epochs", type=int, metavar="N", help="how often each example is read")
    parser.add_argument("--lr", type=float, metavar="X", help="the largest learning rate")
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop early after N evaluations without a better one (default: never)",
    )
    add_run(parser, seed="split, batches and fresh weights", setting="batch_size=16")


def add_lora(parser: argparse.ArgumentParser) -> None:
    """--lora and --template, of models that write."""
    parser.add_argument(
        "--lora",
        type=int,
        metavar="RANK",
        help="of the adapters that train beside frozen weights (default: 8); 0 trains all weights",
    )
    parser.add_argument(
        "--template",
        metavar="NAME",
        help="alpaca or chatml (default: chatml where the tokenizer has its tokens)",
    )


def tuning_settings(args: argparse.Namespace, default: S, **flags: Any) -> S:
    """What run_settings makes of the flags here and of those of the command alone."""
    return run_settings(args, default, {name: getattr(args, name) for name in FLAGS} | flags)


def stopped(signal: int, note: Callable[[str], None]) -> int:
    """Say how a run that this signal stopped goes on; returns the command's exit code."""
    note("stopped; the same command with --resume goes on from here")
    return 128 + signal

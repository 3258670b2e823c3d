"""Flags that every fine-tuning has, and the settings that they make."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_llm.cli.options import add_threads

if TYPE_CHECKING:
    from tinygrad_llm.recipes.settings import S

FLAGS = ("base", "data", "epochs", "lr", "patience", "seed")


def add_tuning(parser: argparse.ArgumentParser, *, data: str, out: str) -> None:
    """BASE, --data with the help `data`, --out with the default `out`, --epochs to --config."""
    parser.add_argument(
        "base", metavar="BASE", help="a Hugging Face folder, a .gguf file, smollm2 or minilm"
    )
    parser.add_argument("--data", required=True, metavar="FILE", help=data)
    parser.add_argument(
        "--out", default=out, metavar="DIR", help=f"the run folder (default: {out})"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="how often each example is read")
    parser.add_argument("--lr", type=float, metavar="X", help="the largest learning rate")
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop early after N evaluations without a better one (default: never)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of split, batches and fresh weights")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="assignments",
        help="any setting, such as batch_size=16 or max_length=60; a wrong key lists what there is",
    )
    parser.add_argument(
        "--config", metavar="FILE.toml", help="settings from a file, such as a run's settings.toml"
    )
    add_threads(parser)


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
    """The settings from, in rising order, the run that is resumed, the file, --set, the flags.

    flags: those of the command alone; None where it was not given.
    """
    from tinygrad_llm.recipes.run_folder import SETTINGS
    from tinygrad_llm.recipes.settings import read_settings

    stored, settings = Path(args.out) / SETTINGS, default
    if args.resume and stored.exists():
        settings = read_settings(str(stored), default)
    if args.config:
        settings = read_settings(args.config, settings)
    given = {name: getattr(args, name) for name in FLAGS} | flags
    return settings.assigned(args.assignments).updated(
        {key: value for key, value in given.items() if value is not None}
    )

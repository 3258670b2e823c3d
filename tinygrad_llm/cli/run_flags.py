"""Flags that every training has, and the settings that they make."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_llm.cli.options import add_set, add_threads

if TYPE_CHECKING:
    from tinygrad_llm.recipes.settings import S


def add_out(parser: argparse.ArgumentParser, default: str) -> None:
    """--out, the run folder."""
    parser.add_argument(
        "--out", default=default, metavar="DIR", help=f"the run folder (default: {default})"
    )


def add_run(parser: argparse.ArgumentParser, *, seed: str, setting: str) -> None:
    """--seed to --threads. seed: what it is the seed of; setting: an example for --set."""
    parser.add_argument("--seed", type=int, metavar="N", help=f"of {seed}")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    add_set(parser, setting)
    parser.add_argument(
        "--config", metavar="FILE.toml", help="settings from a file, such as a run's settings.toml"
    )
    add_threads(parser)


def run_settings(
    args: argparse.Namespace, default: S, flags: Mapping[str, Any], empty: S | None = None
) -> S:
    """The settings from, in rising order, `default`, the run that is resumed, --config, --set,
    `flags`, of which None was not given.

    empty: what a stored run's settings start from, where that is not `default`.
    """
    from tinygrad_llm.recipes.run_folder import SETTINGS
    from tinygrad_llm.recipes.settings import read_settings

    stored, settings = Path(args.out) / SETTINGS, default
    if args.resume and stored.exists():
        settings = read_settings(str(stored), default if empty is None else empty)
    if args.config:
        settings = read_settings(args.config, settings)
    given = {key: value for key, value in flags.items() if value is not None}
    return settings.assigned(args.assignments).updated(given)

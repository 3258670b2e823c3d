"""tinygrad-llm train-translation: pairs of texts in, a folder with a trained transformer out."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "train-translation",
        "Train the transformer of 2017 to translate, from texts and their translations.",
        "tinygrad-llm train-translation --source train.en.gz --target train.de.gz "
        "--val-source val.en.gz --val-target val.de.gz --out runs/en-de",
    )
    parser.add_argument(
        "--source",
        metavar="FILE",
        help="a text a line, plain or .gz; without --target: text, tab, translation",
    )
    parser.add_argument("--target", metavar="FILE", help="line n translates line n of --source")
    parser.add_argument(
        "--val-source", metavar="FILE", help="held-out texts (default: the last 3%% of the others)"
    )
    parser.add_argument("--val-target", metavar="FILE", help="their translations")
    parser.add_argument(
        "--out",
        default="runs/translation",
        metavar="DIR",
        help="the run folder (default: runs/translation)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    parser.add_argument("--seed", type=int, metavar="N", help="of weights, batches and dropout")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="assignments",
        help="any setting, such as d_model=256 or dropout=0.1; a wrong key lists what there is",
    )
    parser.add_argument(
        "--config", metavar="FILE.toml", help="settings from a file, such as a run's settings.toml"
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.train_translation import train_translation

    reporter, settings = TerminalReporter(), resolve(args)
    apply_threads(args)
    outcome = train_translation(settings, args.out, resume=args.resume, reporter=reporter)
    again = f"tinygrad-llm train-translation --out {args.out} --resume"
    if outcome.signal is not None:
        reporter.note(f"stopped; {again} goes on from here")
        return 128 + outcome.signal
    progress = outcome.run.progress
    reporter.note(
        f"\nbest held-out loss of one evaluation {progress.best[0]:.4f} nats/token at step "
        f"{progress.best_step}\n--- held-out texts and their translations\n"
        f"{outcome.run.sample()}\n---\n"
        f"saved in {args.out}; to translate more: tinygrad-llm translate {args.out} TEXT"
    )
    return 0


def resolve(args: argparse.Namespace):
    """The settings from, in rising order, the run that is resumed, the file, --set, the flags."""
    from tinygrad_llm.recipes.run_folder import SETTINGS
    from tinygrad_llm.recipes.settings import read_settings
    from tinygrad_llm.recipes.translation_settings import TranslationSettings

    settings, stored = TranslationSettings(), Path(args.out) / SETTINGS
    if args.resume and stored.exists():
        settings = read_settings(str(stored), settings)
    if args.config:
        settings = read_settings(args.config, settings)
    names = ("source", "target", "val_source", "val_target", "steps", "seed")
    flags = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return settings.assigned(args.assignments).updated(flags)

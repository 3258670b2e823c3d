"""tinygrad-llm train-translation: pairs of texts in, a folder with a trained transformer out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tinygrad_llm.cli.options import add_command, apply_threads
from tinygrad_llm.cli.run_flags import add_out, add_run, run_settings

if TYPE_CHECKING:
    from tinygrad_llm.recipes.translation_settings import TranslationSettings


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
    add_out(parser, "runs/translation")
    parser.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    add_run(parser, seed="weights, batches and dropout", setting="d_model=256 or dropout=0.1")
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


def resolve(args: argparse.Namespace) -> TranslationSettings:
    """What run_settings makes of the flags."""
    from tinygrad_llm.recipes.translation_settings import TranslationSettings

    names = ("source", "target", "val_source", "val_target", "steps", "seed")
    flags = {name: getattr(args, name) for name in names}
    return run_settings(args, TranslationSettings(), flags)

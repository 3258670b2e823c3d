"""tinygrad-llm pretrain: text in, a folder with a trained model out."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_llm.cli.options import add_command, apply_threads
from tinygrad_llm.cli.run_flags import add_out, add_run, run_settings

if TYPE_CHECKING:
    from tinygrad_llm.recipes.reporter import Reporter
    from tinygrad_llm.recipes.run import Outcome
    from tinygrad_llm.recipes.settings import Settings


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "pretrain",
        "Train a GPT, or a BERT, on text; with no argument on Python's own manual.",
        "tinygrad-llm pretrain --data book.txt --out runs/book --steps 2000 --set n_layer=6",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="PATH",
        help="text files, folders, globs, - for standard input, or one .bin file of token ids",
    )
    add_out(parser, "runs/gpt")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="default, char-cpu, baby, gpt2, gpt2-medium, -large, -xl, or bert",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    add_run(
        parser, seed="weights, batches, dropout and samples", setting="n_layer=6 or lr=3e-4"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.pretrain import pretrain

    reporter = TerminalReporter()
    settings = resolve(args, reporter)
    apply_threads(args)
    outcome = pretrain(settings, args.out, resume=args.resume, reporter=reporter)
    if outcome.signal is not None:
        reporter.note(f"stopped; tinygrad-llm pretrain --out {args.out} --resume goes on from here")
        return 128 + outcome.signal
    _summarize(outcome, reporter)
    return 0


def resolve(args: argparse.Namespace, reporter: Reporter) -> Settings:
    """What run_settings makes of the preset and the flags."""
    from tinygrad_llm.recipes.run_folder import SETTINGS
    from tinygrad_llm.recipes.settings import Settings, preset, read_settings

    asked = preset("default" if args.preset is None else args.preset)
    stored = Path(args.out) / SETTINGS
    if args.resume and args.preset is not None and stored.exists():
        _warn_of_unused(args, asked, read_settings(str(stored), Settings()), reporter)
    flags = {"steps": args.steps, "seed": args.seed, "data": args.data}
    return run_settings(args, asked, flags, empty=Settings())


def _warn_of_unused(
    args: argparse.Namespace, asked: Settings, stored: Settings, reporter: Reporter
) -> None:
    """Say in which settings the run that goes on is not what the preset would make of it.

    Those that the command line sets itself are left out: the command that began the run may resume
    it.
    """
    from tinygrad_llm.config import read_toml
    from tinygrad_llm.recipes.run_folder import MAY_CHANGE

    given = {text.partition("=")[0] for text in args.assignments} | {"data", "seed"} | MAY_CHANGE
    if args.config:
        given |= read_toml(args.config).keys()
    own, others = stored.flat(), asked.flat()
    kept = [f"{k} {own[k]!r}" for k in own if own[k] != others[k] and k not in given]
    if kept:
        reporter.warn(
            f"the run in {args.out} goes on with its own settings, not those of --preset "
            f"{args.preset}: {', '.join(kept)}"
        )


def _summarize(outcome: Outcome, reporter: Reporter) -> None:
    """The run in numbers, beside what simpler models of text reach on the same held-out part."""
    run, note = outcome.run, reporter.note
    bert = run.settings.run.model == "bert"
    note(
        f"\nbest held-out loss {run.progress.best[0]:.4f} nats/token "
        f"at step {run.progress.best_step}"
    )
    if outcome.score and math.isfinite(outcome.score.bits_per_byte):
        (_compare_filling if bert else _compare_writing)(outcome, reporter)
    what = "hidden words of the held-out text" if bert else "after the first words of that text"
    note(f"--- a sample, {what}\n{run.sample(tokens=120)}\n---")
    if bert:
        more = f"to fill in more: tinygrad-llm fill-mask {run.folder} 'The [MASK] '"
    else:
        more = f"to write more: tinygrad-llm generate {run.folder} --prompt 'The '"
    note(f"saved in {run.folder}; {more}")


def _compare_writing(outcome: Outcome, reporter: Reporter) -> None:
    from tinygrad_llm.recipes.comparison import baselines

    rows = {"this GPT": outcome.score.bits_per_byte, **baselines(outcome.run)}
    reporter.note("bits per byte of the held-out text (less is better):")
    for name, value in rows.items():
        reporter.note(f"  {name:<10} {value:.3f}")


def _compare_filling(outcome: Outcome, reporter: Reporter) -> None:
    from tinygrad_llm.recipes.comparison import MOST_PLACES, fillers

    with reporter.progress("trigrams fill places", 2 * MOST_PLACES, "place") as advance:
        rows = fillers(outcome.run, advance)
    reporter.note("hidden words of the held-out text found (more is better), nats (less is):")
    for name, (accuracy, nats) in rows.items():
        reporter.note(f"  {name:<22} {accuracy:6.1%}  {nats:.3f}")

"""tinygrad-llm finetune classify: labelled texts in, a folder with a classifier out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tinygrad_llm.cli.options import add_command, apply_threads
from tinygrad_llm.cli.tuning import add_tuning, stopped, tuning_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_llm.recipes.finetune_classify import Result


def add_parser(tasks: argparse._SubParsersAction) -> None:
    parser = add_command(
        tasks,
        "classify",
        "Teach a model to label texts, and test it on texts that it never saw.",
        "tinygrad-llm finetune classify smollm2 --data sms.tsv --freeze 26 --out runs/spam",
    )
    add_tuning(
        parser,
        data="texts and their labels: .tsv or .csv whose first line names the columns, or .jsonl",
        out="runs/classifier",
    )
    parser.add_argument("--text-column", metavar="NAME", help="default: text, SMS, review, ...")
    parser.add_argument("--label-column", metavar="NAME", help="default: label, class, ...")
    parser.add_argument(
        "--freeze",
        metavar="N",
        help="the first N blocks stay as they are, so they run once; all: only the head trains",
    )
    parser.add_argument(
        "--lora",
        type=int,
        nargs="?",
        const=8,
        metavar="RANK",
        dest="rank",
        help="train adapters beside the blocks' weights instead of them (rank 8); they take a "
        "larger --lr, such as 1e-3",
    )
    parser.add_argument(
        "--balance",
        choices=("sample", "weight", "none"),
        help="sample: as many texts of each label as of the rarest (default); weight: all texts, "
        "each label weighing the same",
    )
    parser.add_argument("--pooling", choices=("mean", "cls"), help="of a BERT (default: mean)")
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        default=None,
        help="forget the base's weights: what its pretraining is worth",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.finetune_classify import ClassifySettings, finetune_classify

    names = ("text_column", "label_column", "balance", "pooling", "from_scratch", "rank")
    flags = {name: getattr(args, name) for name in names}
    if args.freeze is not None:
        flags["freeze"] = int(args.freeze) if args.freeze.isdecimal() else args.freeze
    settings = tuning_settings(args, ClassifySettings(), **flags)
    apply_threads(args)
    reporter = TerminalReporter("texts")
    result = finetune_classify(settings, args.out, resume=args.resume, reporter=reporter)
    if result.signal is not None:
        return stopped(result.signal, reporter.note)
    _summarize(result, reporter.note)
    return 0


def _summarize(result: Result, note: Callable[[str], None]) -> None:
    """The test in numbers, beside what costs less."""
    test, run = result.test, result.run
    note(f"\n{int(test.counts.sum()):,} test texts, best weights of step {run.progress.best_step}:")
    note(test.table())
    rows = {
        "this classifier": test.accuracy,
        "bag of words": result.bag_of_words,
        "always one label": result.majority,
    }
    note("\naccuracy")
    for name, value in rows.items():
        note(f"  {name:<17} {value:.2%}")
    note(f"saved in {run.folder}; to use it: tinygrad-llm classify {run.folder} 'a text'")

"""tinygrad-llm finetune prefer: pairs of answers in, a model that prefers the chosen ones out."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command, apply_threads
from tinygrad_llm.cli.tuning import add_lora, add_tuning, stopped, tuning_settings


def add_parser(tasks: argparse._SubParsersAction) -> None:
    parser = add_command(
        tasks,
        "prefer",
        "Teach a model which of two answers is preferred (DPO), measured from where it began.",
        "tinygrad-llm finetune prefer runs/instruct --data preferences.json --out runs/prefer",
    )
    add_tuning(
        parser,
        data="objects with instruction, input (may be missing), chosen and rejected: a JSON list, "
        "or .jsonl",
        out="runs/prefer",
    )
    add_lora(parser)
    parser.add_argument(
        "--beta", type=float, metavar="X", help="how dear it is to leave the base (default: 0.1)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes.finetune_prefer import PreferSettings, finetune_prefer

    flags = {"rank": args.lora, "template": args.template, "beta": args.beta}
    settings = tuning_settings(args, PreferSettings(), **flags)
    apply_threads(args)
    reporter = TerminalReporter("pairs")
    result = finetune_prefer(settings, args.out, resume=args.resume, reporter=reporter)
    if result.signal is not None:
        return stopped(result.signal, reporter.note)
    reporter.note(f"\n{len(result.run.test.pairs):,} test pairs: {result.test} (at first 0.6931)")
    reporter.note(f"saved in {result.run.folder}")
    return 0

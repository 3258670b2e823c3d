"""tinygrad-llm finetune instruct: instructions and answers in, a model that answers out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tinygrad_llm.cli.options import add_command, apply_threads
from tinygrad_llm.cli.tuning import add_lora, add_tuning, stopped, tuning_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_llm.recipes.finetune_instruct import Result

SHOWN = 5  # examples of --show-mask


def add_parser(tasks: argparse._SubParsersAction) -> None:
    parser = add_command(
        tasks,
        "instruct",
        "Teach a model to follow instructions; only the answers count in the loss.",
        "tinygrad-llm finetune instruct smollm2 --data instructions.json --out runs/instruct",
    )
    add_tuning(
        parser,
        data="objects with instruction, input (may be missing) and output: a JSON list, or .jsonl",
        out="runs/instruct",
    )
    add_lora(parser)
    parser.add_argument(
        "--show-mask",
        action="store_true",
        help=f"show the first {SHOWN} examples in colour, grey what is read and green what the "
        "loss counts, and train nothing",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tinygrad_llm.cli.terminal import TerminalReporter
    from tinygrad_llm.recipes import finetune_instruct as recipe

    flags = {"rank": args.lora, "template": args.template}
    settings = tuning_settings(args, recipe.InstructSettings(), **flags)
    if args.show_mask:
        print(*recipe.shown_examples(settings, SHOWN), sep="\n\n")
        return 0
    apply_threads(args)
    reporter = TerminalReporter("answer tokens")
    result = recipe.finetune_instruct(settings, args.out, resume=args.resume, reporter=reporter)
    if result.signal is not None:
        return stopped(result.signal, reporter.note)
    _summarize(result, reporter.note)
    return 0


def _summarize(result: Result, note: Callable[[str], None]) -> None:
    """The held-out loss and the test answers, before and after."""
    from tinygrad_llm.recipes.finetune_instruct import ANSWERS

    run = result.run
    note(f"\nheld-out answers: loss {result.start:.4f} before, {result.end:.4f} after")
    note(f"test answers before: {result.before}")
    note(f"test answers after:  {result.after}")
    note(f"side by side in {run.folder / ANSWERS}")
    note(f"saved in {run.folder}; its adapters, which PEFT opens, in {run.folder / 'adapter'}")

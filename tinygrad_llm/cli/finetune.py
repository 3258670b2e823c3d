"""tinygrad-llm finetune: a pretrained model learns a task from examples; each task has a file."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli import finetune_classify, finetune_instruct, finetune_prefer
from tinygrad_llm.cli.options import add_command

TASKS = (finetune_classify, finetune_instruct, finetune_prefer)


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "finetune",
        "Teach a pretrained model a task with examples.",
        "tinygrad-llm finetune classify minilm --data sms.tsv --out runs/spam",
    )
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True, dest="task")
    for task in TASKS:
        task.add_parser(tasks)

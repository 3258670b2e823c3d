"""tinygrad-llm doctor: what the project runs on here, and what is wrong with it."""

from __future__ import annotations

import argparse

from tinygrad_llm.cli.options import add_command, announce_compiling


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "doctor",
        "Versions, threads, threading layer, cache, and what is wrong.",
        "tinygrad-llm doctor",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tinygrad_llm.recipes.doctor import examine

    announce_compiling()
    report = examine()
    for name, value in report.facts.items():
        print(f"{name:<18} {value}")
    print("\n".join(f"problem: {problem}" for problem in report.problems) or "no problem found")
    return 2 if report.problems else 0

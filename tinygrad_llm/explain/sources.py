"""Where an operation is written, and what it says of itself: its file, its line, its formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def place(function: Callable) -> str:
    """file:line of a function; the file relative to the project where it lies in it."""
    code = function.__code__
    path = Path(code.co_filename)
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"{shown.as_posix()}:{code.co_firstlineno}"


def formula(op: Callable) -> str:
    """What an op's docstring states of y and dx: its first paragraph, and where that ends with a

    colon the sentence that follows. Lines stay lines.
    """
    first, _, rest = (inspect.getdoc(op) or "").partition("\n\n")
    if not first.endswith(":"):
        return first
    lines = rest.split("\n")
    ends = [i for i, line in enumerate(lines) if line.endswith(".")]
    return "\n".join([first, *lines[: ends[0] + 1 if ends else None]])


def operand_names(op: Callable, count: int) -> list[str]:
    """The names of an op's operands; those of a variadic op are numbered."""
    parameters = inspect.signature(op).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
    variadic = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    return names or [f"{variadic[0]}[{i}]" for i in range(count)]

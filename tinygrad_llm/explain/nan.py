"""Where did the NaN come from? The first operation that made one, or an infinity, from finite numbers.

A fill with -inf, and what follows from it, is no defect: masks are made so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinygrad_llm.tensor import Tensor, watch, watch_backward

FILLS = {"masked_fill", "where"}


class _Found(Exception):
    """Carries the description out of the pass that found it."""


def diagnose(compute_loss: Callable[[], Tensor]) -> str | None:
    """Run forward and backward again and describe the first operation that made a NaN or an infinity; else None.

    Gradients are added to the leaves as always; zero them afterwards.
    """
    def forward(op, operands, settings, outputs):
        arrays = [o.data if isinstance(o, Tensor) else o for o in operands]
        _judge(op, "", arrays, [y.data for y in outputs])

    def backward(node, gradients):
        _judge(node.op, "the backward pass of ", node.dys, [g for g in gradients if g is not None])

    try:
        with watch(forward), watch_backward(backward), np.errstate(all="ignore"):
            compute_loss().backward()
    except _Found as found:
        return str(found)
    return None


def _judge(op: Callable, stage: str, inputs: list, outputs: list) -> None:
    inputs = [np.asarray(x) for x in inputs if x is not None]
    if any(np.isnan(x).any() for x in inputs):
        raise _Found(f"a NaN came in with the operands of {stage}{_place(op)}")
    shapes = ", ".join(str(x.shape) for x in inputs)
    if any(np.isnan(y).any() for y in outputs):
        raise _Found(f"the NaN was born in {stage}{_place(op)}, operands of shape {shapes}")
    overflowed = any(np.isinf(y).any() for y in outputs) and not any(np.isinf(x).any() for x in inputs)
    if overflowed and op.__name__ not in FILLS:
        raise _Found(f"an infinity was born in {stage}{_place(op)}, operands of shape {shapes}")


def _place(op: Callable) -> str:
    code = op.__code__
    return f"{op.__name__} ({Path(code.co_filename).name}:{code.co_firstlineno})"

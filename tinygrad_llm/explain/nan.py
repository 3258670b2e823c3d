"""Where did the NaN come from? The first operation that made one of operands that hold none.

An infinity is noted too, and reported where it reaches the loss or a gradient: a mask filled with
-inf, the softmax of it, and an overflow that a division undoes are no defects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from tinygrad_llm.explain.sources import operand_names, place
from tinygrad_llm.tape import Node
from tinygrad_llm.tensor import Tensor, watch, watch_backward

FILLS = {"masked_fill", "where"}


class NaNFound(FloatingPointError):
    """The message names the operation that a NaN was born in, or the one it came in with."""


class Infinities:
    """The first infinity born forward and backward, in words, and whether one reached a leaf."""

    def __init__(self) -> None:
        self.forward: str | None = None
        self.backward: str | None = None
        self.reached = False

    def after_op(self, op: Callable, operands: tuple, settings: dict, outputs: tuple) -> None:
        arrays = [o.data if isinstance(o, Tensor) else o for o in operands]
        inputs = zip(operand_names(op, len(arrays)), arrays, strict=True)
        born = self._judge(f"{op.__name__} ({place(op)})", inputs, [("y", y.data) for y in outputs])
        if self.forward is None and op.__name__ not in FILLS:
            self.forward = born

    def after_backward(self, node: Node, gradients: tuple) -> None:
        names = operand_names(node.op, len(gradients))
        wanted = [i for i, parent in enumerate(node.parents) if parent is not None]
        born = self._judge(
            f"the backward of {node.op.__name__} ({place(node.op)})",
            [("dy", dy) for dy in node.dys],
            [(f"d{names[i]}", gradients[i]) for i in wanted],
        )
        self.backward = self.backward or born
        self.reached |= any(
            isinstance(node.parents[i], Tensor) and np.isinf(gradients[i]).any() for i in wanted
        )

    def _judge(self, where: str, inputs: Iterator, outputs: list) -> str | None:
        """Raise at a NaN; the description of an infinity made of finite inputs, or None."""
        held = [(name, np.asarray(x)) for name, x in inputs if x is not None]
        described = ", ".join(_describe(name, x) for name, x in held)
        for name, x in held:
            if np.isnan(x).any():
                raise NaNFound(f"a NaN came in with {name} of {where}: {described}")
        for name, y in outputs:
            if np.isnan(y).any():
                before = self.forward or self.backward
                raise NaNFound(
                    f"the NaN was born in {where}: {_count(name, y, np.isnan(y))} from "
                    f"{described}{'; before it, ' if before else ''}{before or ''}"
                )
            if np.isinf(y).any() and all(np.isfinite(x).all() for _, x in held):
                count = _count(name, y, np.isinf(y))
                return f"an infinity was born in {where}: {count} from {described}"
        return None


@contextmanager
def find_nan() -> Iterator[Infinities]:
    """Inside this block the first NaN, forward or backward, raises NaNFound."""
    seen = Infinities()
    with watch(seen.after_op), watch_backward(seen.after_backward), np.errstate(all="ignore"):
        yield seen


def diagnose(compute_loss: Callable[[], Tensor]) -> str | None:
    """Run forward and backward again and say where the first NaN or infinity was born; else None.

    compute_loss must draw from generators as it did before. Gradients are added to the leaves as
    always: zero them afterwards.
    """
    try:
        with find_nan() as seen:
            loss = compute_loss()
            loss.backward()
    except NaNFound as found:
        return str(found)
    if np.isinf(loss.data).any():
        return seen.forward or "the loss is infinite because a weight or an input is"
    return seen.backward or seen.forward if seen.reached else None


def _describe(name: str, x: np.ndarray) -> str:
    if x.ndim == 0:
        return f"{name} = {x:.4g}"
    finite = x[np.isfinite(x)]
    span = f" in [{finite.min():.4g}, {finite.max():.4g}]" if finite.size else ""
    infinite = f" with {np.isinf(x).sum()} infinite" if np.isinf(x).any() else ""
    return f"{name} {x.shape}{span}{infinite}"


def _count(name: str, y: np.ndarray, bad: np.ndarray) -> str:
    first = [int(i) for i in np.argwhere(bad)[0]]
    return f"{bad.sum()} of {y.size} values of {name}, first {first},"

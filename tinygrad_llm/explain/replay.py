"""A replay of the backward pass: what each operation received, had saved, and passed on to whom.

It is the real pass, watched: the gradients arrive in the leaves, and the graph is freed as always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.explain.history import Labels, Names, nodes_of
from tinygrad_llm.explain.sources import formula, operand_names, place
from tinygrad_llm.tape import Node, unbroadcast
from tinygrad_llm.tensor import Tensor, watch_backward

FEW = 6  # values of an array that are shown one by one


class Flow(NamedTuple):
    """One gradient on its way from an operation to an operand; `name` is the formula's, as dx."""

    name: str
    source: str
    target: str
    shape: tuple[int, ...]
    norm: float
    values: str


@dataclass(frozen=True)
class Step:
    """One operation of the backward pass. number counts forward, so the pass goes from high to low.

    place: file:line of the op; ran: of the backward that ran, which a kernel may have made.
    received: what its dy is the sum of. saved: the variables that backward had kept.
    """

    number: int
    op: str
    place: str
    ran: str
    formula: str
    saved: dict[str, str]
    shapes: list[tuple[int, ...]]
    dy_norm: float
    received: list[Flow]
    passed: list[Flow]


def replay(
    loss: Tensor, names: Names = (), *, gradient: Any = None, retain_graph: bool = False
) -> list[Step]:
    """Run loss.backward() and tell it step by step, newest operation first.

    names: (name, Tensor) of leaves, as model.named_parameters() gives them.
    """
    labels = Labels(nodes_of(loss), names)
    start = np.ones(loss.shape) if gradient is None else np.asarray(gradient)
    end = labels((loss.node, loss.index))
    sent = {end: [_flow("dy", "the start", end, start)]}
    steps: list[Step] = []

    def after(node: Node, gradients: tuple) -> None:
        passed = list(_passed(node, gradients, labels))
        for flow in passed:
            sent.setdefault(flow.target, []).append(flow)
        received = [f for i in range(len(node.shapes)) for f in sent.pop(labels((node, i)), ())]
        dys = [dy for dy in node.dys if dy is not None]
        steps.append(
            Step(
                labels.numbers[node],
                node.op.__name__,
                place(node.op),
                place(node.backward),
                formula(node.op),
                dict(_saved(node.backward)),
                node.shapes,
                _norm(*dys),
                received,
                passed,
            )
        )

    with watch_backward(after):
        loss.backward(gradient, retain_graph=retain_graph)
    return steps


def render(steps: list[Step]) -> str:
    """The replay as text, one paragraph a step, and at last what reached each leaf."""
    leaves: dict[str, list[Flow]] = {}
    for flow in (flow for step in steps for flow in step.passed):
        if not flow.target.startswith("#"):
            leaves.setdefault(flow.target, []).append(flow)
    last = [f"   {name} {flows[0].shape}: {_sum(flows)}" for name, flows in leaves.items()]
    first = f"The backward pass through {len(steps)} operations, newest first."
    end = "\n".join(["The gradients of the leaves:", *last])
    return "\n\n".join([first, *map(_paragraph, steps), end]) + "\n"


def _paragraph(step: Step) -> str:
    head = f"#{step.number} {step.op}   {step.place}"
    if step.ran.split(":")[0] != step.place.split(":")[0]:
        head += f", compiled in {step.ran}"
    saved = ", ".join(f"{name} {what}" for name, what in step.saved.items())
    shapes = " ".join(map(str, step.shapes))
    lines = [
        head,
        *(f"   {line}" for line in step.formula.split("\n")),
        f"   saved     {saved or 'nothing'}",
        f"   received  dy {shapes}, norm {step.dy_norm:.4g}: {_sum(step.received)}",
    ]
    lines += [
        f"   passed    {f.name} {f.shape}, norm {f.norm:.4g}, to {f.target}{f.values}"
        for f in step.passed
    ]
    return "\n".join(lines)


def _sum(flows: list[Flow]) -> str:
    return " + ".join(f"{f.name} of {f.source} (norm {f.norm:.4g})" for f in flows)


def _passed(node: Node, gradients: tuple, labels: Labels) -> Iterator[Flow]:
    names = operand_names(node.op, len(gradients))
    for name, gradient, parent in zip(names, gradients, node.parents, strict=True):
        if parent is not None:
            shape = parent[0].shapes[parent[1]] if isinstance(parent, tuple) else parent.shape
            yield _flow(f"d{name}", labels.of(node), labels(parent), unbroadcast(gradient, shape))


def _flow(name: str, source: str, target: str, gradient: np.ndarray) -> Flow:
    shown = np.array2string(gradient, precision=4, separator=", ").replace("\n", "")
    values = f": {shown}" if 0 < gradient.size <= FEW else ""
    return Flow(name, source, target, gradient.shape, _norm(gradient), values)


def _norm(*arrays: np.ndarray) -> float:
    return float(np.sqrt(sum(np.sum(np.square(a, dtype=np.float64)) for a in arrays)))


def _saved(backward: Callable) -> Iterator[tuple[str, str]]:
    """The variables that backward's closure holds, also those of functions it holds."""
    waiting = [("", backward)]
    while waiting:
        prefix, function = waiting.pop()
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, value in ((name, cell.cell_contents) for name, cell in cells):
            if hasattr(value, "__closure__"):
                waiting.append((f"{prefix}{name}.", value))
            else:
                yield prefix + name, _brief(value)


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{value.dtype} {value.shape}"
    text = repr(value.item() if isinstance(value, (np.ndarray, np.generic)) else value)
    return text if len(text) <= 40 else text[:37] + "..."

"""The graph of a loss, as DOT (Graphviz) and as Mermaid text; graph_svg.py draws it without either.

Boxes are operations and leaves, arrows go from what is read to what reads it. Operations of one
module stand together where the leaves have the names of a model's parameters.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from tinygrad_llm.explain.history import Labels, Names, nodes_of
from tinygrad_llm.explain.sources import formula, place
from tinygrad_llm.tape import Node
from tinygrad_llm.tensor import Tensor


class Box(NamedTuple):
    """An operation or a leaf. kind: the file of ops/ that the operation is in, or "leaf"."""

    title: str
    detail: str
    kind: str
    hover: str
    group: int


class Arrow(NamedTuple):
    """Box number `source` is operand number `slot` of box number `target`."""

    source: int
    target: int
    slot: int


@dataclass(frozen=True)
class Graph:
    """Boxes, in an order in which every arrow points forward, and the names of the groups."""

    boxes: list[Box]
    arrows: list[Arrow]
    groups: list[str]


def graph_of(loss: Tensor, names: Names = ()) -> Graph:
    """The graph that loss.backward() would walk; names as model.named_parameters() gives them."""
    nodes = nodes_of(loss)
    labels = Labels(nodes, names)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    number: dict[Node | Tensor, int] = {}
    groups: list[str] = []
    for node in nodes:
        leaves = [p for p in node.parents if isinstance(p, Tensor)]
        _enter_group(groups, [labels(leaf) for leaf in leaves])
        for leaf in leaves:
            if leaf not in number:
                number[leaf] = len(boxes)
                name, shape = _printable(labels(leaf)), _shape(leaf.shape)
                hover = f"{name}, a leaf: {leaf.dtype} {shape}"
                boxes.append(Box(name, shape, "leaf", hover, len(groups) - 1))
        number[node] = len(boxes)
        for slot, parent in enumerate(p for p in node.parents if p is not None):
            source = parent[0] if isinstance(parent, tuple) else parent
            arrows.append(Arrow(number[source], number[node], slot))
        boxes.append(_operation(node, labels, len(groups) - 1))
    return Graph(boxes, arrows, groups)


def to_dot(graph: Graph) -> str:
    """The graph in Graphviz's language."""
    lines = ["digraph loss {", "  node [shape=box, style=rounded, fontname=monospace];"]
    for group, members in _members(graph):
        inside = [
            f"  n{i} [label={_dot(box.title, box.detail)}"
            f"{', style=filled' if box.kind == 'leaf' else ''}];"
            for i, box in members
        ]
        if name := graph.groups[group]:
            inside = [f"  subgraph cluster_{group} {{ label={_dot(name)};", *inside, "  }"]
        lines += inside
    lines += [f"  n{a.source} -> n{a.target};" for a in graph.arrows]
    return "\n".join([*lines, "}"]) + "\n"


def to_mermaid(graph: Graph) -> str:
    """The graph in Mermaid's language, which Markdown pages show as a picture."""
    lines = ["flowchart TD"]
    for group, members in _members(graph):
        texts = [(i, _mermaid(box.title, box.detail), box.kind) for i, box in members]
        inside = [
            f"  n{i}([{text}])" if kind == "leaf" else f"  n{i}[{text}]" for i, text, kind in texts
        ]
        if name := graph.groups[group]:
            inside = [f"  subgraph g{group}[{_mermaid(name)}]", *inside, "  end"]
        lines += inside
    lines += [f"  n{a.source} --> n{a.target}" for a in graph.arrows]
    return "\n".join(lines) + "\n"


def _enter_group(groups: list[str], names: list[str]) -> None:
    """Begin a new group where an operation reads a leaf of another module than the last one."""
    path = next((_module(name) for name in names if "." in name), None)
    if not groups or path not in (None, groups[-1]):
        groups.append(path or "")


def _module(name: str) -> str:
    """h.3 of h.3.attn.out_proj.weight, ln_f of ln_f.weight: up to a number, or all but the last."""
    parts = name.split(".")
    end = next((i + 1 for i, part in enumerate(parts) if part.isdigit()), len(parts) - 1)
    return ".".join(parts[:end])


def _operation(node: Node, labels: Labels, group: int) -> Box:
    hover = f"{labels.of(node)}   {place(node.op)}\n{formula(node.op)}"
    shapes = " ".join(map(_shape, node.shapes))
    return Box(labels.of(node), shapes, node.op.__module__.split(".")[-1], hover, group)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else " " for c in name)


def _shape(shape: tuple[int, ...]) -> str:
    return str(shape) if shape else "one number"


def _members(graph: Graph) -> list[tuple[int, list[tuple[int, Box]]]]:
    runs = itertools.groupby(enumerate(graph.boxes), key=lambda item: item[1].group)
    return [(group, list(members)) for group, members in runs]


def _dot(*lines: str) -> str:
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def _mermaid(*lines: str) -> str:
    names = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"})
    return '"' + "<br/>".join(line.translate(names) for line in lines) + '"'

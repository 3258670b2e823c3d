"""What the tape holds of a loss: its operations, oldest first and numbered, and its leaves."""

from __future__ import annotations

from collections.abc import Iterable

from tinygrad_llm.tape import Node
from tinygrad_llm.tensor import Tensor

Names = Iterable[tuple[str, Tensor]]  # as model.named_parameters() gives them


def nodes_of(loss: Tensor) -> list[Node]:
    """The operations that a loss was made by, in the order in which they ran."""
    if loss.node is None:
        raise ValueError("this tensor has no history: nothing that requires a gradient led to it")
    if loss.node.backward is None:
        raise ValueError(
            f"backward freed the history of this {loss.node.op.__name__}; look before "
            "it, or call backward(retain_graph=True)"
        )
    found, waiting = {loss.node}, [loss.node]
    while waiting:
        for parent in waiting.pop().parents:
            if isinstance(parent, tuple) and parent[0] not in found:
                found.add(parent[0])
                waiting.append(parent[0])
    return sorted(found, key=lambda node: node.serial)


class Labels:
    """Names for a history: "#3 matmul" for an operation, a path or "leaf 2" for a leaf."""

    def __init__(self, nodes: list[Node], names: Names = ()):
        self.numbers = {node: number for number, node in enumerate(nodes, 1)}
        self.leaves = {tensor: name for name, tensor in names}
        self.unnamed = 0

    def __call__(self, destination: Tensor | tuple[Node, int]) -> str:
        """The label of where a gradient goes; an output of several is named by its index."""
        if isinstance(destination, Tensor):
            if destination not in self.leaves:
                self.unnamed += 1
                self.leaves[destination] = f"leaf {self.unnamed}"
            return self.leaves[destination]
        node, index = destination
        return self.of(node) + (f"[{index}]" if len(node.shapes) > 1 else "")

    def of(self, node: Node) -> str:
        """#number and name of an operation."""
        return f"#{self.numbers[node]} {node.op.__name__}"

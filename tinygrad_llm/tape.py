"""The tape: one Node for each operation, and the walk from the last one made to the first.

It knows arrays, shapes and leaves, but no formula: those are in ops/.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor

recording: ContextVar[bool] = ContextVar("recording", default=True)
watcher: ContextVar[Callable | None] = ContextVar("watcher", default=None)
_backward_watcher: ContextVar[Callable | None] = ContextVar("backward_watcher", default=None)
_serial = itertools.count()
_accumulating = threading.Lock()

# Where a gradient goes: to a leaf, to an output of a node, or nowhere
Destination = "Tensor | tuple[Node, int] | None"


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this block nothing is recorded, so nothing is kept for a backward pass."""
    with _set(recording, False):
        yield


@contextmanager
def watch(after: Callable[[Callable, tuple, dict, tuple], None]) -> Iterator[None]:
    """Inside this block `after(op, operands, settings, outputs)` is called after every op."""
    with _set(watcher, after):
        yield


@contextmanager
def watch_backward(after: Callable[[Node, tuple], None]) -> Iterator[None]:
    """Inside this block `after(node, gradients)` is called after every node's backward."""
    with _set(_backward_watcher, after):
        yield


@contextmanager
def _set(variable: ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


class Node:
    """One recorded operation: how to go back, where to, and the gradients that have arrived.

    parents: for each operand the leaf Tensor or the (Node, output index) that its gradient goes to,
    or None where none is wanted. leaves: the operands that no operation made, with their versions.
    It holds no array: what backward needs is in backward's closure, by name.
    """

    __slots__ = (
        "op",
        "parents",
        "leaves",
        "backward",
        "several",
        "dys",
        "shapes",
        "dtype",
        "serial",
    )

    def __init__(
        self,
        op: Callable,
        parents: list[Destination],
        leaves: list[Tensor],
        backward: Callable,
        outputs: tuple[np.ndarray, ...],
        several: bool,
    ):
        self.op, self.parents, self.backward, self.serial = op, parents, backward, next(_serial)
        self.leaves = [(leaf, leaf.version) for leaf in leaves]
        self.several = several  # a tuple of outputs, perhaps of one, and so of dys
        self.dys: list[np.ndarray | None] = [None] * len(outputs)
        self.shapes, self.dtype = [y.shape for y in outputs], outputs[0].dtype

    def gradients(self) -> tuple:
        """Run the op's backward on what arrived: one array or None for each operand."""
        if self.backward is None:
            raise RuntimeError(
                f"backward ran through this {self.op.__name__} before and freed what it had saved; "
                "run the forward pass again, or call backward(retain_graph=True) the first time"
            )
        for leaf, version in self.leaves:
            if leaf.version != version:
                raise RuntimeError(
                    f"a tensor of shape {leaf.shape} was changed in place after {self.op.__name__} "
                    "had saved it; call backward before the change"
                )
        dys = [
            np.zeros(shape, self.dtype) if dy is None else dy
            for dy, shape in zip(self.dys, self.shapes, strict=True)
        ]
        incoming = tuple(dys) if self.several else dys[0]
        if self.backward.__code__.co_argcount == 1:
            return self.backward(incoming)
        return self.backward(incoming, [parent is not None for parent in self.parents])

    def free(self) -> None:
        """Forget what backward needed, and the way back."""
        self.parents, self.leaves, self.backward = [], [], None


def walk(destination: Destination, dy: np.ndarray, retain_graph: bool) -> None:
    """The backward pass: newest node first, so each node has all its dy before it passes any on.

    That order is a topological sort: an operation is always made after what it reads. A heap holds
    the nodes that wait, so nothing recurses, and each node is freed as soon as it has run.
    """
    waiting: list[tuple[int, Node]] = []
    after = _backward_watcher.get()
    _deliver(destination, dy, False, waiting)
    try:
        while waiting:
            node = waiting[0][1]
            gradients = node.gradients()
            if after is not None:
                after(node, gradients)
            _pass_on(node, gradients, waiting)
            heapq.heappop(waiting)
            node.dys = [None] * len(node.dys)
            if not retain_graph:
                node.free()
    finally:
        for _, node in waiting:  # after an error: a later backward must not add to what arrived now
            node.dys = [None] * len(node.dys)


def _pass_on(node: Node, gradients: tuple, waiting: list) -> None:
    """Deliver each gradient to the operand it belongs to."""
    if len(gradients) != len(node.parents):
        raise ValueError(
            f"the backward of {node.op.__name__} gave {len(gradients)} gradients "
            f"for {len(node.parents)} operands"
        )
    for i, (parent, gradient) in enumerate(zip(node.parents, gradients, strict=True)):
        if parent is None:
            continue
        shape = parent[0].shapes[parent[1]] if isinstance(parent, tuple) else parent.shape
        if gradient is None or gradient.shape != shape and not _fits(gradient.shape, shape):
            got = None if gradient is None else f"a gradient of shape {gradient.shape}"
            raise ValueError(
                f"the backward of {node.op.__name__} gave {got} for operand {i} of shape {shape}"
            )
        fresh = sum(gradient is array for array in (*node.dys, *gradients)) == 1
        _deliver(parent, unbroadcast(gradient, shape), fresh, waiting)


def _deliver(destination: Destination, gradient: np.ndarray, fresh: bool, waiting: list) -> None:
    """Add a gradient to a leaf's grad or a node's dys; fresh: nobody else holds the array."""
    if not isinstance(destination, tuple):
        with _accumulating:
            _accumulate(destination, np.asarray(gradient, destination.dtype), fresh)
        return
    node, index = destination
    if all(dy is None for dy in node.dys):
        heapq.heappush(waiting, (-node.serial, node))
    earlier = node.dys[index]
    gradient = np.asarray(gradient, node.dtype)
    node.dys[index] = gradient if earlier is None else earlier + gradient


def _accumulate(leaf: Tensor, gradient: np.ndarray, fresh: bool) -> None:
    if leaf.grad is not None:
        leaf.grad += gradient
    else:
        owned = fresh and gradient.base is None and gradient.flags.c_contiguous
        leaf.grad = gradient if owned else np.array(gradient, order="C")


def _fits(gradient: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an operand of `shape` broadcasts to the gradient's shape."""
    extra = len(gradient) - len(shape)
    return extra >= 0 and all(n in (1, g) for g, n in zip(gradient[extra:], shape, strict=True))


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an operand of `shape` was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    repeated = [i + extra for i, n in enumerate(shape) if n == 1]
    return gradient.sum(axis=(*range(extra), *repeated)).reshape(shape)

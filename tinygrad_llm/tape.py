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

from tinygrad_llm import twins
from tinygrad_llm.kernels.buffers import Room, empty
from tinygrad_llm.ops import elementwise

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
        count = self.backward.__code__.co_argcount
        if count == 1:
            return self.backward(incoming)
        needs = [parent is not None for parent in self.parents]
        if count == 2 or _backward_watcher.get() is not None:
            return self.backward(incoming, needs)
        with _accumulating:  # it writes to the leaves' gradients itself
            return self.backward(incoming, needs, [_room_of(p, self) for p in self.parents])

    def free(self) -> None:
        """Forget what backward needed, and the way back."""
        self.parents, self.leaves, self.backward = [], [], None


def record(
    op: Callable,
    operands: list[Tensor | None],
    backward: Callable,
    outputs: tuple[np.ndarray, ...],
    several: bool,
) -> Node | None:
    """The node of an operation that ran; None where no operand wants a gradient, or under no_grad.

    operands: None for each that is no Tensor.
    """
    if not (recording.get() and any(t is not None and t.requires_grad for t in operands)):
        return None
    leaves = [t for t in operands if t is not None and t.node is None]
    return Node(op, [destination(t) for t in operands], leaves, backward, outputs, several)


def destination(tensor: Tensor | None) -> Destination:
    """Where a gradient for the tensor goes: to the leaf itself, or to the node that made it."""
    if tensor is None or not tensor.requires_grad:
        return None
    return tensor if tensor.node is None else (tensor.node, tensor.index)


def backward(tensor: Tensor, gradient: Any, retain_graph: bool) -> None:
    """Walk back from a tensor, whose own gradient is given, or 1 for one number."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "backward on a tensor that requires no gradient: nothing in its history requires one"
        )
    if gradient is None and tensor.size != 1:
        raise RuntimeError(
            f"backward on a tensor of shape {tensor.shape} needs a gradient of that shape; only "
            "one number, such as a loss, has an obvious one: 1"
        )
    dy = np.asarray(np.ones(tensor.shape) if gradient is None else gradient, tensor.dtype)
    if dy.shape != tensor.shape:
        raise RuntimeError(f"gradient of shape {dy.shape} for a tensor of {tensor.shape}")
    _walk(destination(tensor), dy, retain_graph)


def _walk(start: Destination, dy: np.ndarray, retain_graph: bool) -> None:
    """The backward pass: newest node first, so each node has all its dy before it passes any on.

    That order is a topological sort: an operation is always made after what it reads. A heap holds
    the nodes that wait, so nothing recurses, and each node is freed as soon as it has run.
    """
    waiting: list[tuple[int, Node]] = []
    after = _backward_watcher.get()
    if isinstance(start, tuple):
        _deliver(*start, dy, waiting)
    else:
        _accumulate(start, dy, False)
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


def _room_of(parent: Destination, node: Node) -> Room | None:
    """The place for the gradient of an operand of a node, if that is a leaf which has one."""
    if parent is None or type(parent) is tuple:
        return None
    if sum(other is parent for other in node.parents) > 1:
        return None  # its gradients would each overwrite the one before
    if parent.grad is None:
        return None if parent.room is None else Room(parent.room, False)
    return Room(parent.grad, True) if parent.grad.flags.c_contiguous else None


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
        inner = type(parent) is tuple
        shape = parent[0].shapes[parent[1]] if inner else parent.data.shape
        if gradient is None or gradient.shape != shape:
            gradient = _fitted(node, i, gradient, shape)
        if inner:
            _deliver(*parent, gradient, waiting)
        else:
            fresh = not any(gradient is dy for dy in node.dys)
            _accumulate(parent, gradient, fresh and parent.grad is None and _once(i, gradients))


def _once(i: int, gradients: tuple) -> bool:
    return sum(gradient is gradients[i] for gradient in gradients) == 1


def _deliver(node: Node, index: int, gradient: np.ndarray, waiting: list) -> None:
    """Add a gradient to what has arrived for one output of a node."""
    if all(dy is None for dy in node.dys):
        heapq.heappush(waiting, (-node.serial, node))
    earlier = node.dys[index]
    if gradient.dtype != node.dtype:
        gradient = gradient.astype(node.dtype)
    if earlier is not None:
        gradient, _ = twins.choose(elementwise.add, node.dtype)(earlier, gradient)
    node.dys[index] = gradient


def _accumulate(leaf: Tensor, gradient: np.ndarray, owned: bool) -> None:
    """Add a gradient to a leaf's; owned: nobody else holds the array."""
    with _accumulating:
        if gradient is leaf.grad:
            return  # the op has added it there
        if leaf.grad is not None:
            leaf.grad += gradient
        elif leaf.room is not None:
            if gradient is not leaf.room:  # the op has not written it there
                leaf.room[...] = gradient
            leaf.grad = leaf.room
        elif owned and gradient.base is None and gradient.dtype == leaf.dtype:
            leaf.grad = np.asarray(gradient, order="C")
        else:
            leaf.grad = np.array(gradient, leaf.dtype, order="C")


def _fitted(node: Node, i: int, gradient: np.ndarray | None, shape: tuple) -> np.ndarray:
    """The gradient of operand i in the operand's shape."""
    if gradient is None or not _fits(gradient.shape, shape):
        got = None if gradient is None else f"a gradient of shape {gradient.shape}"
        raise ValueError(
            f"the backward of {node.op.__name__} gave {got} for operand {i} of shape {shape}"
        )
    return unbroadcast(gradient, shape)


def _fits(gradient: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an operand of `shape` broadcasts to the gradient's shape."""
    extra = len(gradient) - len(shape)
    return extra >= 0 and all(n in (1, g) for g, n in zip(gradient[extra:], shape, strict=True))


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an operand of `shape` was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    kept = *[1] * extra, *shape
    axes = tuple(i for i, n in enumerate(kept) if n == 1)
    out = empty(kept) if gradient.dtype == np.float32 else None
    return np.sum(gradient, axes, keepdims=True, out=out).reshape(shape)

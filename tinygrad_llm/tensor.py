"""Tensor: an array that remembers how it was made, so that `backward` can find d loss / d everything.

The tape: `lift(op)` runs an op of ops/ on arrays and records its backward in a Node; `Tensor.backward` visits
the nodes from the last made to the first. It knows no formula: those are in ops/.
"""

from __future__ import annotations

import functools
import heapq
import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinygrad_llm import twins
from tinygrad_llm.ops import (
    activations, elementwise, matmul, normalize, reductions, selection, shapes,
)

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_watcher: ContextVar[Callable | None] = ContextVar("watcher", default=None)
_backward_watcher: ContextVar[Callable | None] = ContextVar("backward_watcher", default=None)
_serial = itertools.count()


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this block nothing is recorded, so nothing is kept for a backward pass."""
    with _set(_recording, False):
        yield


@contextmanager
def watch(watcher: Callable[[Callable, tuple, tuple], None]) -> Iterator[None]:
    """Inside this block `watcher(op, operands, outputs)` is called after every operation."""
    with _set(_watcher, watcher):
        yield


@contextmanager
def watch_backward(watcher: Callable[[Node, tuple], None]) -> Iterator[None]:
    """Inside this block `watcher(node, gradients)` is called after every node's backward."""
    with _set(_backward_watcher, watcher):
        yield


@contextmanager
def _set(variable: ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


class Node:
    """One recorded operation: how to go back, where to, and the gradients that have arrived so far.

    parents: for each operand the leaf Tensor or the (Node, output index) that its gradient goes to, or None
    where none is wanted. It holds no array: what backward needs is in backward's closure, by name.
    """

    __slots__ = ("op", "parents", "leaves", "backward", "dys", "shapes", "dtype", "serial")

    def __init__(self, op: Callable, operands: tuple, backward: Callable, outputs: tuple):
        self.op, self.backward, self.serial = op, backward, next(_serial)
        self.parents = [_destination(operand) for operand in operands]
        self.leaves = [(t, t.version) for t in operands if isinstance(t, Tensor) and t.node is None]
        self.dys: list[np.ndarray | None] = [None] * len(outputs)
        self.shapes, self.dtype = [y.shape for y in outputs], outputs[0].dtype

    def gradients(self) -> tuple:
        """Run the op's backward on the gradients that arrived: one array or None for each operand."""
        if self.backward is None:
            raise RuntimeError(
                f"backward ran through this {self.op.__name__} before and freed what it had saved; "
                "run the forward pass again, or call backward(retain_graph=True) the first time")
        for leaf, version in self.leaves:
            if leaf.version != version:
                raise RuntimeError(f"a tensor of shape {leaf.shape} was changed in place after "
                                   f"{self.op.__name__} had saved it; call backward before the change")
        dys = [np.zeros(shape, self.dtype) if dy is None else dy
               for dy, shape in zip(self.dys, self.shapes, strict=True)]
        incoming = dys[0] if len(dys) == 1 else tuple(dys)
        if self.backward.__code__.co_argcount == 1:
            return self.backward(incoming)
        return self.backward(incoming, [parent is not None for parent in self.parents])

    def free(self) -> None:
        """Forget what backward needed, and the way back."""
        self.parents, self.leaves, self.backward = [], [], None


def _destination(operand: Any) -> Tensor | tuple[Node, int] | None:
    if not isinstance(operand, Tensor) or not operand.requires_grad:
        return None
    return operand if operand.node is None else (operand.node, operand.index)


def lift(op: Callable) -> Callable:
    """Put an op on the tape: the same function, but of Tensors, arrays and Python numbers.

    The op's positional-only arguments are the operands; further positional arguments are its settings, in order.
    """
    parameters = inspect.signature(op).parameters.values()
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    operands = sum(p.kind is p.POSITIONAL_ONLY for p in parameters)
    settings = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]

    @functools.wraps(op)
    def on_tape(*args: Any, **kwargs: Any) -> Any:
        if not variadic and len(args) != operands:
            if len(args) < operands:
                raise TypeError(f"{op.__name__} takes {operands} operands, got {len(args)}")
            kwargs.update(zip(settings, args[operands:], strict=False))
            args = args[:operands]
        return _apply(op, args, {key: _array_of(value) for key, value in kwargs.items()})
    return on_tape


def _walk(root: Tensor, dy: np.ndarray, retain_graph: bool) -> None:
    """The backward pass: newest node first, so each node has all its dy before it passes any on.

    That order is a topological sort: an operation is always made after what it reads. A heap holds the
    nodes that wait, so nothing recurses, and each node is freed as soon as it has run.
    """
    waiting: list[tuple[int, Node]] = []
    watcher = _backward_watcher.get()
    _deliver(_destination(root), dy, False, waiting)
    while waiting:
        _, node = heapq.heappop(waiting)
        gradients = node.gradients()
        if watcher is not None:
            watcher(node, gradients)
        for parent, gradient in zip(node.parents, gradients, strict=True):
            if parent is not None:
                holders = sum(gradient is array for array in (*node.dys, *gradients))
                _deliver(parent, gradient, holders == 1, waiting)
        node.dys = [None] * len(node.dys)
        if not retain_graph:
            node.free()


def _deliver(destination: Tensor | tuple[Node, int], gradient: np.ndarray, fresh: bool, waiting: list) -> None:
    """Add a gradient to a leaf's grad or to what a node has received; fresh: nobody else holds the array."""
    if isinstance(destination, Tensor):
        leaf = destination
        gradient = _unbroadcast(gradient, leaf.shape).astype(leaf.dtype, copy=False)
        if leaf.grad is not None:
            leaf.grad += gradient
        else:
            owned = fresh and gradient.base is None and gradient.flags.c_contiguous
            leaf.grad = gradient if owned else np.array(gradient, order="C")
        return
    node, index = destination
    gradient = _unbroadcast(gradient, node.shapes[index]).astype(node.dtype, copy=False)
    if all(dy is None for dy in node.dys):
        heapq.heappush(waiting, (-node.serial, node))
    earlier = node.dys[index]
    node.dys[index] = gradient if earlier is None else earlier + gradient


def _unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an operand of `shape` was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    repeated = [i + extra for i, n in enumerate(shape) if n == 1]
    return gradient.sum(axis=(*range(extra), *repeated)).reshape(shape)


def _apply(op: Callable, args: tuple, settings: dict[str, Any]) -> Any:
    arrays = [_array_of(a) for a in args]
    dtype = next((a.dtype for a in arrays if isinstance(a, np.ndarray)), None)
    value, backward = twins.choose(op, dtype)(*arrays, **settings)
    values = value if isinstance(value, tuple) else (np.asarray(value),)
    recorded = _recording.get() and any(isinstance(a, Tensor) and a.requires_grad for a in args)
    node = Node(op, args, backward, values) if recorded else None
    outputs = tuple(_output(y, node, i) for i, y in enumerate(values))
    if (watcher := _watcher.get()) is not None:
        watcher(op, args, outputs)
    return outputs if isinstance(value, tuple) else outputs[0]


def _array_of(value: Any) -> Any:
    """The array of a Tensor; a NumPy scalar as a Python number, which never widens float32."""
    if isinstance(value, Tensor):
        return value.data
    return value.item() if isinstance(value, np.generic) else value


def _output(array: np.ndarray, node: Node | None, index: int) -> Tensor:
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.grad, tensor.version = array, None, 0
    tensor.requires_grad, tensor.node, tensor.index = node is not None, node, index
    if node is not None:
        array.flags.writeable = False  # a saved array that changed would give a wrong gradient
    return tensor


def _operators(op: Callable) -> tuple[Callable, Callable]:
    """x + y as a method of x, and y + x as a method of x for a y that is no Tensor."""
    lifted = lift(op)

    def forward(self: Tensor, other: Any) -> Any:
        return lifted(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    def reflected(self: Tensor, other: Any) -> Any:
        return lifted(other, self) if isinstance(other, _OPERANDS) else NotImplemented
    return forward, reflected


def _comparison(compare: Callable) -> Callable:
    def method(self: Tensor, other: Any) -> Any:
        return _output(compare(self.data, _array_of(other)), None, 0)
    return method


def _variadic(op: Callable) -> Callable:
    """x.reshape(2, 3) and x.reshape((2, 3)) alike."""
    lifted = lift(op)

    @functools.wraps(op)
    def method(self: Tensor, *sizes: Any) -> Tensor:
        return lifted(self, tuple(sizes[0]) if len(sizes) == 1 and np.iterable(sizes[0]) else sizes)
    return method


def _getitem(self: Tensor, index: Any) -> Tensor:
    parts = index if isinstance(index, tuple) else (index,)
    arrays = tuple(p.data if isinstance(p, Tensor) else p for p in parts)
    return _index(self, arrays if isinstance(index, tuple) else arrays[0])


class Tensor:
    """An n-dimensional array with a gradient, PyTorch's interface over a NumPy array.

    data: the ndarray, copied from what is given (lists of floats become float32). grad: an ndarray of its shape
    after `backward`, or None. requires_grad: whether a gradient is wanted.
    """

    __slots__ = ("data", "grad", "requires_grad", "node", "index", "version", "__weakref__")
    __array_ufunc__ = None  # NumPy then leaves `array + tensor` to Tensor instead of dropping the graph

    def __init__(self, data: Any, requires_grad: bool = False):
        array = np.array(data.data if isinstance(data, Tensor) else data)
        if array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic, Tensor)):
            array = array.astype(np.float32)
        if requires_grad and array.dtype not in (np.float32, np.float64):
            raise TypeError(f"only float32 and float64 tensors can require a gradient, not {array.dtype}")
        self.data, self.grad, self.requires_grad = array, None, requires_grad
        self.node, self.index, self.version = None, 0, 0

    # What it is
    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)
    T = property(lambda self: self.permute(*reversed(range(self.ndim))))

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        made = f", op={self.node.op.__name__}" if self.node else ""
        wanted = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(self.data, separator=', ', prefix='Tensor(')}{wanted}{made})"

    def __bool__(self) -> bool:
        return bool(self.data)

    def item(self) -> float:
        """The value of a tensor with one element, as a Python number."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The values as an array that shares memory; raises where that would drop a gradient in silence."""
        if self.requires_grad:
            raise RuntimeError("this tensor requires a gradient, which an array cannot carry; use .detach().numpy()")
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def detach(self) -> Tensor:
        """The same values without a history; shares memory."""
        return _output(self.data, None, 0)

    def copy_(self, values: Any) -> Tensor:
        """Write new values into a leaf in place: how weights are loaded and updated."""
        if self.node is not None:
            raise RuntimeError(f"cannot write into the output of {self.node.op.__name__}; detach it first")
        self.data[...] = _array_of(values)
        self.version += 1
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("tensors are not changed in place; use where or masked_fill, or t.copy_(values) for a leaf")

    def __deepcopy__(self, memo: dict) -> Tensor:
        return self.__reduce__()[0](*self.__reduce__()[1])

    def __reduce__(self) -> tuple:
        if self.node is not None:
            raise RuntimeError("only tensors without a history can be copied or pickled; call detach() first")
        return Tensor, (self.data, self.requires_grad)

    # Backward
    def backward(self, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add d self / d leaf, times `gradient`, to the grad of every leaf that requires one.

        gradient: an array of self's shape; may be left out where self has one element. What the graph saved is
        freed on the way unless retain_graph. Gradients of gradients (create_graph) are out of scope.
        """
        if create_graph:
            raise NotImplementedError("gradients of gradients are out of scope: create_graph must be False")
        if not self.requires_grad:
            raise RuntimeError("backward on a tensor that requires no gradient: nothing in its history requires one")
        if gradient is None and self.size != 1:
            raise RuntimeError(f"backward on a tensor of shape {self.shape} needs backward(gradient) of that shape; "
                               "only a single number, such as a loss, has an obvious one: 1")
        start = np.ones(self.shape, self.dtype) if gradient is None else np.asarray(_array_of(gradient), self.dtype)
        if start.shape != self.shape:
            raise RuntimeError(f"gradient of shape {start.shape} for a tensor of shape {self.shape}")
        _walk(self, start, retain_graph)

    # Arithmetic
    __add__, __radd__ = _operators(elementwise.add)
    __sub__, __rsub__ = _operators(elementwise.subtract)
    __mul__, __rmul__ = _operators(elementwise.multiply)
    __truediv__, __rtruediv__ = _operators(elementwise.divide)
    __pow__, __rpow__ = _operators(elementwise.power)
    __matmul__, __rmatmul__ = _operators(matmul.matmul)
    __neg__ = lift(elementwise.negative)
    __abs__ = abs = lift(elementwise.abs)
    matmul = lift(matmul.matmul)
    exp, log, sqrt = lift(elementwise.exp), lift(elementwise.log), lift(elementwise.sqrt)
    clip = lift(elementwise.clip)

    # Comparisons: arrays of bool, which carry no gradient
    __eq__, __ne__ = _comparison(np.equal), _comparison(np.not_equal)
    __lt__, __le__ = _comparison(np.less), _comparison(np.less_equal)
    __gt__, __ge__ = _comparison(np.greater), _comparison(np.greater_equal)
    __hash__ = object.__hash__

    # Activations and rows
    relu, sigmoid, tanh = map(lift, (activations.relu, activations.sigmoid, activations.tanh))
    silu, gelu = lift(activations.silu), lift(activations.gelu)
    softmax, log_softmax = lift(normalize.softmax), lift(normalize.log_softmax)

    # Reductions
    sum, mean, var = lift(reductions.sum), lift(reductions.mean), lift(reductions.var)
    max, min = lift(reductions.max), lift(reductions.min)

    def argmax(self, axis: int | None = None) -> np.ndarray:
        """The index of the largest value, as an array (it has no gradient)."""
        return np.argmax(self.data, axis=axis)

    # Shapes and selection
    reshape, permute = _variadic(shapes.reshape), _variadic(shapes.permute)
    broadcast_to = _variadic(shapes.broadcast_to)
    transpose, split = lift(shapes.transpose), lift(shapes.split)
    squeeze, unsqueeze = lift(shapes.squeeze), lift(shapes.unsqueeze)
    masked_fill = lift(selection.masked_fill)
    __getitem__ = _getitem


_OPERANDS = (Tensor, np.ndarray, np.generic, int, float)
_index = lift(shapes.getitem)

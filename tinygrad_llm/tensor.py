"""Tensor: an array that remembers how it was made, so that `backward` finds d loss / d everything.

`lift(op)` puts an op of ops/ on the tape. No formula is here: the class is a table of contents.
How a call is read is in calls.py, how it is recorded and walked back in tape.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad_llm import calls, tape
from tinygrad_llm.kernels import again
from tinygrad_llm.ops import activations, elementwise, matmul, normalize, reductions
from tinygrad_llm.ops import selection, shapes
from tinygrad_llm.tape import Node, no_grad, watch, watch_backward

__all__ = ["Tensor", "lift", "no_grad", "watch", "watch_backward"]


def lift(op: Callable) -> Callable:
    """Put an op on the tape: the same function, but of Tensors, arrays and Python numbers.

    The op's positional-only arguments are the operands; further positional ones are its settings.
    """
    read = calls.reader(op)

    @functools.wraps(op)
    def on_tape(*args: Any, **settings: Any) -> Any:
        operands, settings = read(args, settings)
        for name, value in settings.items():
            settings[name] = _setting(op, name, value)
        return _apply(op, operands, settings)

    return on_tape


def _apply(op: Callable, args: tuple, settings: dict[str, Any]) -> Any:
    value, backward = calls.compute(op, [_operand(a) for a in args], settings)
    several = isinstance(value, tuple)
    values = value if several else (value,)
    tensors = [a if isinstance(a, Tensor) else None for a in args]
    node = tape.record(op, tensors, backward, values, several)
    outputs = tuple(_output(y, node, i) for i, y in enumerate(values))
    if node is None:  # then no node's backward will notice writes into the operands
        for y in values:
            again.forget(y)
        _share_writes(tensors, outputs)
    if (after := tape.watcher.get()) is not None:
        after(op, args, settings, outputs)
    return outputs if several else outputs[0]


def _operand(value: Any) -> Any:
    """The array of an operand, lists too; a Python number stays one."""
    return Tensor(value).data if isinstance(value, (list, tuple)) else _array_of(value)


def _share_writes(tensors: list[Tensor | None], outputs: tuple[Tensor, ...]) -> None:
    """An output that is a view of an operand's memory shares its count of writes."""
    for y in outputs:
        if (owner := y.data.base) is not None:
            for t in tensors:
                if t is not None and (owner is t.data or owner is t.data.base):
                    y.writes = t.writes


def _setting(op: Callable, name: str, value: Any) -> Any:
    """The array of a setting, to which no gradient goes: one that wants it is refused."""
    if not isinstance(value, Tensor):
        return value.item() if isinstance(value, np.generic) else value
    if value.requires_grad and tape.recording.get():
        raise TypeError(f"{op.__name__}: {name} carries no gradient; give {name}.detach()")
    return value.data


def _array_of(value: Any) -> Any:
    """The array of a Tensor; a NumPy scalar as a Python number, which never widens float32."""
    if isinstance(value, Tensor):
        return value.data
    return value.item() if isinstance(value, np.generic) else value


def _output(array: np.ndarray, node: Node | None, index: int) -> Tensor:
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.grad, tensor.room, tensor.writes = array, None, None, [0]
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

    data: the ndarray, copied from what is given; lists of floats become float32. grad: an array of
    its shape after `backward`, or None. requires_grad: whether a gradient is wanted. room: an array
    that grad shall be in, or None; an optimizer lends it. version: how often the values were
    written in place; what shares the memory shares the count.
    """

    __slots__ = ("data", "grad", "room", "requires_grad", "node", "index", "writes", "__weakref__")
    __array_ufunc__ = None  # NumPy then leaves `array + tensor` to Tensor and the graph is kept

    def __init__(self, data: Any, requires_grad: bool = False):
        array = np.array(data.data if isinstance(data, Tensor) else data)
        if array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic, Tensor)):
            array = array.astype(np.float32)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"a tensor holds numbers or bools, not {array.dtype}: {data!r:.60}")
        if requires_grad and array.dtype not in (np.float32, np.float64):
            raise TypeError(f"only float32 and float64 can require a gradient, not {array.dtype}")
        self.data, self.grad, self.requires_grad = array, None, requires_grad
        self.room, self.node, self.index, self.writes = None, None, 0, [0]

    # What it is
    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)
    T = property(lambda self: self.permute(*reversed(range(self.ndim))))

    @property
    def version(self) -> int:
        return self.writes[0]

    @version.setter
    def version(self, number: int) -> None:
        self.writes[0] = number

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.__getitem__, range(len(self)))

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        made = f", op={self.node.op.__name__}" if self.node else ""
        wanted = ", requires_grad=True" if self.requires_grad else ""
        values = np.array2string(self.data, separator=", ", prefix="Tensor(")
        return f"Tensor({values}{wanted}{made})"

    def __bool__(self) -> bool:
        return bool(self.data)

    def item(self) -> float:
        """The value of a tensor with one element, as a Python number."""
        return self.data.item()

    def __float__(self) -> float:
        return float(self.item())

    def numpy(self) -> np.ndarray:
        """The values as an array that shares memory; raises where that would drop a gradient."""
        if self.requires_grad:
            raise RuntimeError(
                "this tensor requires a gradient, which an array cannot carry; "
                "use .detach().numpy()"
            )
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def detach(self) -> Tensor:
        """The same values without a history; shares memory."""
        detached = _output(self.data, None, 0)
        detached.writes = self.writes
        return detached

    def copy_(self, values: Any) -> Tensor:
        """Write new values into a leaf in place: how weights are loaded and updated."""
        if self.node is not None:
            raise RuntimeError(
                f"cannot write into the output of {self.node.op.__name__}; "
                "only a leaf can be changed"
            )
        self.data[...] = _array_of(values)
        self.version += 1
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "tensors are not changed in place; use where or masked_fill, "
            "or t.copy_(values) for a leaf"
        )

    def __deepcopy__(self, memo: dict) -> Tensor:
        return self.__reduce__()[0](*self.__reduce__()[1])

    def __reduce__(self) -> tuple:
        if self.node is not None:
            raise RuntimeError(
                "only tensors without a history can be copied or pickled; call detach() first"
            )
        return Tensor, (self.data, self.requires_grad)

    # Backward
    def backward(
        self, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add d self / d leaf, times `gradient`, to the grad of every leaf that requires one.

        gradient: an array of self's shape, needed unless self has one element. What the graph saved
        is freed on the way unless retain_graph. Gradients of gradients (create_graph) are out of
        scope.
        """
        if create_graph:
            raise NotImplementedError("gradients of gradients are out of scope")
        tape.backward(self, None if gradient is None else _array_of(gradient), retain_graph)

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
    __and__, __or__ = _comparison(np.bitwise_and), _comparison(np.bitwise_or)

    def __invert__(self) -> Tensor:
        return _output(~self.data, None, 0)

    __hash__ = object.__hash__

    # Activations and rows
    relu, sigmoid, tanh = map(lift, (activations.relu, activations.sigmoid, activations.tanh))
    silu, gelu = lift(activations.silu), lift(activations.gelu)
    softmax, log_softmax = lift(normalize.softmax), lift(normalize.log_softmax)

    # Reductions
    sum, mean, var = lift(reductions.sum), lift(reductions.mean), lift(reductions.var)
    max, min = lift(reductions.max), lift(reductions.min)

    def argmax(self, axis: int | None = None, **others: Any) -> np.ndarray:
        """The index of the largest value, as an array (it has no gradient)."""
        calls.check_settings("argmax", ["axis"], others)
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

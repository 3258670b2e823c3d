"""What each operation takes while something runs: seconds, arithmetic and bytes, forward and
backward.

Every operation passes through twins.choose; while one watches, what it returns is timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_llm import twins

_LINEAR = ("linear", "linear_residual", "linear_cross_entropy")
# Backward's products for each of forward's: dx and dW; attention makes its scores again.
_PRODUCTS = (*_LINEAR, "matmul", "feed_forward", "swiglu")
_BACKWARD = {**dict.fromkeys(_PRODUCTS, 2), "scaled_dot_product_attention": 2.5}


@dataclass
class Row:
    """What one operation cost. direction: forward, backward or update.

    flops: multiplications and additions of products, 0 for others. bytes: of all arrays read and
    written, each once; views cost none.
    """

    op: str
    direction: str
    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    bytes: int = 0

    @property
    def gflops(self) -> float:
        """Reached, in 10^9 operations a second."""
        return self.flops / self.seconds / 1e9

    @property
    def gigabytes_per_second(self) -> float:
        """Reached, in 10^9 bytes a second."""
        return self.bytes / self.seconds / 1e9


@dataclass
class OpTimes:
    """One Row for each (name of the op, direction) that was seen `watching`."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """All operations together."""
        return sum(row.seconds for row in self.rows.values())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside this block every operation of this process is timed."""
        choose = twins.choose
        twins.choose = lambda op, dtype: self._timed(op.__name__, choose(op, dtype))
        try:
            yield
        finally:
            twins.choose = choose

    def add(self, name: str, direction: str, seconds: float, flops: float, size: int) -> None:
        """Count one call."""
        row = self.rows.setdefault((name, direction), Row(name, direction))
        row.calls += 1
        row.seconds += seconds
        row.flops += flops
        row.bytes += size

    def _timed(self, name: str, function: Callable) -> Callable:
        """The function of an op, timed, with a timed backward."""

        def run(*operands: Any, **settings: Any) -> Any:
            start = time.perf_counter()
            result = function(*operands, **settings)
            seconds = time.perf_counter() - start
            if not isinstance(result, tuple):  # the optimizer's, which have no backward
                self.add(name, "update", seconds, 0, _update_bytes(operands))
                return result
            y, backward = result
            flops, size = product_flops(name, operands, settings), forward_bytes(name, operands, y)
            self.add(name, "forward", seconds, flops, size)
            return y, _TimedBackward(self, name, backward, _BACKWARD.get(name, 0) * flops, size)

        return run


class _TimedBackward:
    """A backward that is timed. The tape reads from __code__ how many arguments it takes."""

    def __init__(self, times: OpTimes, name: str, function: Callable, flops: float, size: int):
        self.times, self.name, self.function = times, name, function
        self.flops, self.size, self.__code__ = flops, size, function.__code__

    def __call__(self, dy: Any, *more: Any) -> Any:
        start = time.perf_counter()
        gradients = self.function(dy, *more)
        seconds = time.perf_counter() - start
        # It reads what forward read and dy, which is like y, and writes what is like the operands.
        new = [dx for dx in _arrays(gradients) if not _shares(dx, _arrays(dy))]
        size = self.size + sum(dx.nbytes for dx in new) if new else 0
        self.times.add(self.name, "backward", seconds, self.flops, size)
        return gradients


def product_flops(name: str, operands: tuple, settings: dict[str, Any]) -> float:
    """Multiplications and additions of forward, for the operations that are products."""
    if name in _LINEAR:
        return 2 * operands[0].size * len(operands[1])
    if name == "feed_forward":
        x, w1, _, w2 = operands[:4]
        return 2 * math.prod(x.shape[:-1]) * (w1.size + w2.size)
    if name == "swiglu":
        x, w_gate, w_up, w_down = (operands[i] for i in (0, 1, 3, 5))
        return 2 * math.prod(x.shape[:-1]) * (w_gate.size + w_up.size + w_down.size)
    if name == "matmul":
        a, b = operands
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        rows, columns = (a.shape[-2] if a.ndim > 1 else 1), (b.shape[-1] if b.ndim > 1 else 1)
        return 2 * math.prod(lead) * rows * a.shape[-1] * columns
    if name == "scaled_dot_product_attention":
        q, k = operands[:2]
        return 4 * q.size * k.shape[2] * (0.5 if settings.get("is_causal") else 1)
    return 0


def forward_bytes(name: str, operands: tuple, y: Any) -> int:
    """Bytes of operands and outputs, each once; 0 where every output is a view of an operand."""
    read = _arrays(operands)
    new = [array for array in _arrays(y) if not _shares(array, read)]
    if not new:
        return 0
    written = sum(array.nbytes for array in new)
    if name == "embedding":
        return 2 * written  # it reads the rows that it writes, not the whole table
    return written + sum(array.nbytes for array in read)


def _update_bytes(operands: tuple) -> int:
    """AdamW reads its operands and writes all but the gradients; a norm of one operand reads it."""
    read = sum(array.nbytes for array in operands)
    return read if len(operands) == 1 else 2 * read - operands[1].nbytes


def _arrays(values: Any) -> list[np.ndarray]:
    values = values if isinstance(values, (tuple, list)) else (values,)
    return [x for x in values if isinstance(x, np.ndarray)]


def _shares(array: np.ndarray, others: list[np.ndarray]) -> bool:
    return any(np.may_share_memory(array, other) for other in others)

"""gradcheck: is the backward pass of a function the derivative of its forward pass?

Central differences in float64, (f(x + eps) - f(x - eps)) / 2 eps, against what the tape gives. On
failure the message names the entry, the kind of mistake, and the op whose backward is wrong.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.explain.nan import diagnose
from tinygrad_llm.explain.sources import place
from tinygrad_llm.tensor import Tensor, lift, no_grad, watch


class GradientError(AssertionError):
    """A gradient that central differences contradict."""


@dataclass(frozen=True)
class Comparison:
    """The gradient of one input: analytic, from the tape (None: none arrived), and numeric."""

    position: int
    analytic: np.ndarray | None
    numeric: np.ndarray

    def differences(self) -> np.ndarray:
        """|analytic - numeric| for each entry; infinite where either is NaN."""
        analytic = np.zeros_like(self.numeric) if self.analytic is None else self.analytic
        return np.nan_to_num(np.abs(analytic - self.numeric), nan=np.inf, posinf=np.inf)

    def largest(self) -> float:
        """The largest |numeric|."""
        return float(np.max(np.abs(self.numeric), initial=0.0))

    def error(self) -> float:
        """The largest difference, relative to the largest |numeric|, or to 1 if that is more."""
        return float(np.max(self.differences(), initial=0.0)) / max(1.0, self.largest())

    def within(self, rtol: float = 1e-6, atol: float = 1e-7) -> bool:
        """Whether no entry differs by more than atol + rtol times the largest |numeric|."""
        return bool(np.all(self.differences() <= atol + rtol * self.largest()))


def gradcheck(
    f: Callable,
    *inputs: Any,
    eps: float = 1e-6,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    rng: np.random.Generator | None = None,
) -> bool:
    """True where the gradients of f are right; GradientError, with what is wrong, where not.

    f: a function of Tensors that returns a Tensor or several; outputs that are no single number are
    contracted with a random vector drawn from rng. inputs: Tensors, arrays or numbers; those of
    floats are checked, in float64, the others are passed on. eps: the step of the differences.
    No entry may differ by more than atol + rtol times the largest entry of that gradient.
    """
    for comparison in compare(f, *inputs, eps=eps, rng=rng):
        if not comparison.within(rtol, atol):
            hints = _kind(comparison), *_guilty(f, inputs, comparison, eps)
            raise GradientError("\n  ".join((_headline(comparison), *hints)))
    return True


def max_error(
    f: Callable, *inputs: Any, eps: float = 1e-6, rng: np.random.Generator | None = None
) -> float:
    """The largest relative error over all inputs; `gradcheck` says what is wrong."""
    return max((c.error() for c in compare(f, *inputs, eps=eps, rng=rng)), default=0.0)


def compare(
    f: Callable, *inputs: Any, eps: float = 1e-6, rng: np.random.Generator | None = None
) -> list[Comparison]:
    """The gradient of each input of floats, from the tape and from central differences."""
    arrays = [_prepare(x) for x in inputs]
    rng = rng or np.random.default_rng(0)
    first, again = _values(f, arrays), _values(f, arrays)
    if not all(map(np.array_equal, first, again, [True] * len(first))):
        raise GradientError("gradcheck: f gave two values for one input; fix the seed it uses")
    dys = [rng.standard_normal(y.shape) for y in first]
    analytic = _analytic(f, arrays, dys)
    return [
        Comparison(i, analytic[i], _numeric(f, arrays, i, dys, eps))
        for i, x in enumerate(arrays)
        if _is_checked(x)
    ]


def _prepare(x: Any) -> Any:
    """A private float64 copy of what holds floats; anything else as it is."""
    array = x.data if isinstance(x, Tensor) else x
    floats = isinstance(array, float) or getattr(getattr(array, "dtype", None), "kind", "") == "f"
    return np.array(array, np.float64) if floats else x


def _is_checked(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == np.float64


def _outputs(f: Callable, arrays: list, requires_grad: bool) -> tuple[list, tuple]:
    """(the Tensors that f was given, its outputs)."""
    tensors = [Tensor(x, requires_grad) if _is_checked(x) else x for x in arrays]
    y = f(*tensors)
    return tensors, y if isinstance(y, tuple) else (y,)


def _values(f: Callable, arrays: list) -> list[np.ndarray]:
    with no_grad():
        return [y.data for y in _outputs(f, arrays, False)[1]]


def _analytic(f: Callable, arrays: list, dys: list[np.ndarray]) -> list[np.ndarray | None]:
    tensors, outputs = _outputs(f, arrays, True)
    try:
        for y, dy in zip(outputs, dys, strict=True):
            if y.requires_grad:
                y.backward(dy, retain_graph=True)
    except ValueError as error:
        raise GradientError(f"gradcheck: the backward pass failed: {error}") from error
    return [t.grad if isinstance(t, Tensor) else None for t in tensors]


def _numeric(f: Callable, arrays: list, i: int, dys: list[np.ndarray], eps: float) -> np.ndarray:
    """Entry by entry: move x by eps either way and see how far dy . f moves."""
    x = arrays[i]
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        here = x[index]
        x[index] = here + eps
        above = _values(f, arrays)
        x[index] = here - eps
        below = _values(f, arrays)
        x[index] = here
        for y_above, y_below, dy in zip(above, below, dys, strict=True):
            moved = np.subtract(y_above, y_below, where=y_above != y_below, out=np.zeros(dy.shape))
            gradient[index] += np.sum(moved * dy) / (2 * eps)
    return gradient


def _headline(c: Comparison) -> str:
    at = np.unravel_index(np.argmax(c.differences()), c.numeric.shape)
    analytic = "none" if c.analytic is None else f"{c.analytic[at]:.8g}"
    return (
        f"gradcheck: input {c.position} of shape {c.numeric.shape} at {[int(k) for k in at]}: "
        f"analytic {analytic}, numeric {c.numeric[at]:.8g}, relative error {c.error():.2g}"
    )


def _kind(c: Comparison) -> str:
    """What the whole gradient looks like beside the right one."""
    if c.analytic is None:
        return "no gradient arrived: the graph was cut by detach(), .data or no_grad()"
    if not np.isfinite(c.analytic).all():
        return f"{np.sum(~np.isfinite(c.analytic))} of {c.analytic.size} entries are not finite"
    factor = np.sum(c.analytic * c.numeric) / max(np.sum(c.numeric * c.numeric), 1e-300)
    if Comparison(0, c.analytic, factor * c.numeric).within() and factor:
        cause = "a sign is wrong" if abs(factor + 1) < 1e-5 else "a factor is wrong or missing"
        return f"every entry is {factor:.5g} times what it should be: {cause}"
    if c.numeric.T.shape == c.analytic.shape and Comparison(0, c.analytic, c.numeric.T).within():
        return "it is the transpose of what it should be"
    wrong = np.sum(c.differences() > 1e-7 + 1e-6 * c.largest())
    return f"{wrong} of {c.numeric.size} entries are wrong"


def _guilty(f: Callable, inputs: tuple, wrong: Comparison, eps: float) -> list[str]:
    """The operations on the tape that made the mistake, one line each."""
    arrays = [_prepare(x) for x in inputs]
    if wrong.analytic is not None and not np.isfinite(wrong.analytic).all():
        born = diagnose(lambda: _total(_outputs(f, arrays, True)[1]))
        return [born] if born else []
    calls: dict[str, tuple] = {}
    with watch(
        lambda op, operands, settings, outputs: calls.setdefault(
            f"{op.__name__} ({place(op)})", (op, operands, settings)
        )
    ):
        _outputs(f, arrays, True)
    lines = [
        f"the backward of {name} is not the derivative of its forward"
        for name, call in calls.items()
        if not _is_right(*call, eps)
    ]
    return lines or ["operations on the tape: " + ", ".join(calls)]


def _is_right(op: Callable, operands: tuple, settings: dict, eps: float) -> bool:
    """Whether one operation, alone, on what it was given, has the backward of its forward."""
    wanted = [i for i, o in enumerate(operands) if isinstance(o, Tensor) and o.requires_grad]

    def alone(*tensors: Tensor) -> Any:
        given = dict(zip(wanted, tensors, strict=True))
        return lift(op)(*(given.get(i, o) for i, o in enumerate(operands)), **settings)

    try:
        return all(c.within() for c in compare(alone, *(operands[i] for i in wanted), eps=eps))
    except GradientError:
        return False


def _total(outputs: tuple) -> Tensor:
    return functools.reduce(operator.add, (y.sum() for y in outputs))

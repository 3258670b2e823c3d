"""What a call of an operation means: which arguments are operands and which settings, and in which
dtype it computes. It knows signatures and arrays, no Tensor.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm import twins

PYTORCHS = {
    "dim": "axis",
    "dim0": "axis0",
    "dim1": "axis1",
    "dims": "axes",
    "keepdim": "keepdims",
    "attn_mask": "mask",
    "split_size": "sizes",
    "unbiased": "correction",
}  # its names for our settings


def reader(op: Callable) -> Callable[[tuple, dict], tuple[tuple, dict]]:
    """The function that parts the arguments of a call, those without and those with a name, into
    (operands, settings).

    The op's positional-only parameters are the operands; what follows them is a setting.
    """
    parameters = inspect.signature(op).parameters.values()
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    count = sum(p.kind is p.POSITIONAL_ONLY for p in parameters)
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]

    def read(args: tuple, settings: dict) -> tuple[tuple, dict]:
        if settings:
            check_settings(op.__name__, names, settings)
        if variadic or len(args) == count:
            return args, settings
        if not count <= len(args) <= count + len(names):
            raise TypeError(
                f"{op.__name__} takes {count} operands, then {names}; got {len(args)} arguments"
            )
        given = dict(zip(names, args[count:], strict=False))
        if twice := given.keys() & settings.keys():
            raise TypeError(f"{op.__name__} got {', '.join(twice)} twice")
        return args[:count], given | settings

    return read


def check_settings(function: str, known: Sequence[str], given: Iterable[str]) -> None:
    """TypeError for a setting that the function does not know, with those that it does."""
    for name in given:
        if name in known:
            continue
        what = f"it knows {_listed(known)}" if known else "it has none"
        ours, nearest = PYTORCHS.get(name), difflib.get_close_matches(name, known, n=1)
        if ours in known:
            what += f"; PyTorch's {name} is {ours}"
        elif nearest:
            what += f"; did you mean {nearest[0]!r}?"
        raise TypeError(f"{function}() has no setting {name!r}; {what}")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def compute(op: Callable, arrays: list, settings: dict) -> tuple[Any, Callable]:
    """The op's value and backward, from its kernel where there is one.

    Floats that an op makes of integers, bools or Python numbers alone are float32.
    """
    arrays, dtype = _promoted(arrays)
    value, backward = twins.choose(op, dtype)(*arrays, **settings)
    if isinstance(value, tuple):
        return value, backward
    value = np.asarray(value)
    if dtype is None and value.dtype == np.float16:  # as NumPy makes of bools and single bytes
        value, backward = op(*(np.asarray(a, np.float32) for a in arrays), **settings)
    elif dtype is None and value.dtype == np.float64:
        value = value.astype(np.float32)
    return value, backward


def _promoted(arrays: list) -> tuple[list, np.dtype | None]:
    """What the op computes on, and in which float dtype; None where no array holds floats.

    Integers and bools beside floats become floats of that dtype: NumPy would make float64 of them.
    """
    dtypes = {a.dtype for a in arrays if isinstance(a, np.ndarray)}
    floats = [d for d in dtypes if d.kind == "f"]
    if not floats:
        return arrays, None
    if len(floats) < len(dtypes):
        arrays = [
            a.astype(max(floats)) if isinstance(a, np.ndarray) and a.dtype.kind in "iub" else a
            for a in arrays
        ]
    return arrays, max(floats)

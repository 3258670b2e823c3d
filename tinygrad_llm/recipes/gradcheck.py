"""Every operation against central differences: one case each, small enough to finish while you
watch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.errors import suggest
from tinygrad_llm.explain.gradcheck import max_error
from tinygrad_llm.tensor import lift

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Case:
    """shapes: of the operands. settings: of the op. positive: operands above 0, where the op needs
    that.
    """

    shapes: tuple
    settings: dict[str, Any]
    positive: bool = False


def _case(*shapes: tuple, positive: bool = False, **settings: Any) -> Case:
    return Case(shapes, settings, positive)


_ROW, _MATRIX, _TENSOR = (4,), (3, 4), (2, 3, 4)
_HEADS, _GROUPS = (1, 4, 5, 3), (1, 2, 5, 3)
_ANGLES = np.outer(np.arange(3), [1.0, 0.1])
CASES = {
    **{
        name: _case(_MATRIX, _ROW) for name in ("add", "subtract", "multiply", "maximum", "minimum")
    },
    **{name: _case(_MATRIX, _ROW, positive=True) for name in ("divide", "power")},
    **{
        name: _case(_MATRIX)
        for name in ("negative", "exp", "abs", "relu", "sigmoid", "tanh", "silu")
    },
    **{name: _case(_MATRIX, positive=True) for name in ("log", "sqrt")},
    **{name: _case(_TENSOR, axis=1) for name in ("sum", "mean", "var", "max", "min")},
    **{name: _case(_MATRIX, axis=-1) for name in ("softmax", "log_softmax")},
    **{name: _case(_MATRIX, _MATRIX, axis=0) for name in ("concatenate", "stack")},
    "clip": _case(_MATRIX, min=-0.5, max=0.5),
    "gelu": _case(_MATRIX, approximate="tanh"),
    "reshape": _case(_TENSOR, shape=(6, 4)),
    "transpose": _case(_TENSOR, axis0=0, axis1=2),
    "permute": _case(_TENSOR, axes=(2, 0, 1)),
    "squeeze": _case((3, 1, 4), axis=1),
    "unsqueeze": _case(_MATRIX, axis=1),
    "broadcast_to": _case(_ROW, shape=_MATRIX),
    "split": _case(_MATRIX, sizes=[1, 3], axis=1),
    "getitem": _case(_MATRIX, index=np.array([0, 2, 0])),
    "where": _case(_MATRIX, _MATRIX, condition=np.eye(3, 4) > 0),
    "masked_fill": _case(_MATRIX, mask=np.eye(3, 4) > 0, value=0.5),
    "embedding": _case(_MATRIX, ids=np.array([[0, 2], [2, 1]])),
    "dropout": _case(_MATRIX, p=0.4, seed=7),
    "matmul": _case(_TENSOR, (4, 5)),
    "linear": _case(_TENSOR, (5, 4), (5,)),
    "feed_forward": _case(
        _TENSOR, (5, 4), (5,), (3, 5), (3,), (2, 3, 3), approximate="tanh", dropout_p=0.4, seed=7
    ),
    "linear_residual": _case(_TENSOR, (5, 4), (5,), (2, 3, 5), dropout_p=0.4, seed=7),
    "swiglu": _case(_TENSOR, (5, 4), (5,), (5, 4), (5,), (3, 5), (3,), (2, 3, 3)),
    "layer_norm": _case(_MATRIX, _ROW, _ROW),
    "rms_norm": _case(_MATRIX, _ROW),
    "scaled_dot_product_attention": _case(_HEADS, _GROUPS, _GROUPS, is_causal=True),
    "split_heads": _case((2, 3, 8), heads=(2, 1, 1)),
    "join_heads": _case((2, 2, 3, 4)),
    "rotary": _case(_TENSOR, cos=np.cos(_ANGLES), sin=np.sin(_ANGLES)),
    "cross_entropy": _case(_MATRIX, targets=np.array([1, -100, 3])),
    "linear_cross_entropy": _case(_MATRIX, (5, 4), targets=np.array([1, -100, 3])),
    "mse_loss": _case(_MATRIX, _MATRIX),
}


def check_operations(names: list[str] | None = None) -> Iterator[tuple[str, float]]:
    """(name, largest relative error of a gradient) of the named operations, or of all, in
    float64.
    """
    for name in names or ops.TABLE:
        if name not in CASES:
            raise suggest(name, CASES, "operation")
        yield name, _error(name, CASES[name])


def _error(name: str, case: Case) -> float:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in case.shapes]
    if case.positive:
        arrays = [np.abs(array) + 0.5 for array in arrays]
    return max_error(lambda *operands: lift(ops.TABLE[name])(*operands, **case.settings), *arrays)

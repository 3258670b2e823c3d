"""Every operation as a function of Tensors, names and argument order as in torch.nn.functional.

The formulas are in ops/; `lift` puts each on the tape. Each function's docstring is that of its op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.tensor import Tensor, lift

_lifted = {name: lift(op) for name, op in ops.TABLE.items()}

add, subtract, multiply, divide = map(_lifted.get, ("add", "subtract", "multiply", "divide"))
power, negative, exp, log, sqrt = map(_lifted.get, ("power", "negative", "exp", "log", "sqrt"))
abs, clip, maximum, minimum = map(_lifted.get, ("abs", "clip", "maximum", "minimum"))
relu, sigmoid, tanh, silu, gelu = map(_lifted.get, ("relu", "sigmoid", "tanh", "silu", "gelu"))
sum, mean, var, max, min = map(_lifted.get, ("sum", "mean", "var", "max", "min"))
reshape, transpose, permute = map(_lifted.get, ("reshape", "transpose", "permute"))
squeeze, unsqueeze, broadcast_to = map(_lifted.get, ("squeeze", "unsqueeze", "broadcast_to"))
split, getitem, masked_fill = map(_lifted.get, ("split", "getitem", "masked_fill"))
matmul, softmax, log_softmax = map(_lifted.get, ("matmul", "softmax", "log_softmax"))
mse_loss = _lifted["mse_loss"]
scaled_dot_product_attention = _lifted["scaled_dot_product_attention"]
split_heads, join_heads = _lifted["split_heads"], _lifted["join_heads"]
rotary, swiglu = _lifted["rotary"], _lifted["swiglu"]


def concatenate(tensors: Sequence[Tensor], axis: int = 0, **unknown: Any) -> Tensor:
    return _lifted["concatenate"](*tensors, axis=axis, **unknown)


def stack(tensors: Sequence[Tensor], axis: int = 0, **unknown: Any) -> Tensor:
    return _lifted["stack"](*tensors, axis=axis, **unknown)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    return _lifted["where"](a, b, condition=condition)


def embedding(ids: Any, weight: Tensor) -> Tensor:
    return _lifted["embedding"](weight, ids=_array(ids))


def cross_entropy(
    logits: Tensor,
    targets: Any,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    return _lifted["cross_entropy"](
        logits,
        targets=_array(targets),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    targets: Any,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    return _lifted["linear_cross_entropy"](
        x,
        weight,
        targets=_array(targets),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _lifted["linear"](x, weight, bias)


def linear_residual(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor,
    p: float = 0.0,
    rng: np.random.Generator | None = None,
    training: bool = True,
) -> Tensor:
    """residual + dropout(x W^T + b), whose mask follows from one draw of `rng`; in evaluation and
    for p = 0 nothing is dropped.
    """
    return _lifted["linear_residual"](x, weight, bias, residual, **_dropping(p, rng, training))


def feed_forward(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    residual: Tensor,
    p: float,
    rng: np.random.Generator,
    training: bool = True,
    approximate: str = "none",
) -> Tensor:
    """residual + dropout(GELU(x W1^T + b1) W2^T + b2), with dropout as in linear_residual."""
    settings = _dropping(p, rng, training)
    return _lifted["feed_forward"](x, w1, b1, w2, b2, residual, approximate=approximate, **settings)


def _dropping(p: float, rng: np.random.Generator | None, training: bool) -> dict[str, Any]:
    return {"dropout_p": p, "seed": draw_seed(rng)} if training and p > 0 else {}


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    return _lifted["layer_norm"](x, weight, bias, eps=eps)


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    return _lifted["rms_norm"](x, weight, eps=eps)


def dropout(x: Tensor, p: float, rng: np.random.Generator, training: bool = True) -> Tensor:
    """Dropout whose mask follows from one draw of `rng`; in evaluation and for p = 0, x itself."""
    return _lifted["dropout"](x, p=p, seed=draw_seed(rng)) if training and p else x


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for the operations that drop values: one number below 2^64 from the generator."""
    return int(rng.integers(2**64, dtype=np.uint64))


def _array(ids: Any) -> np.ndarray:
    return np.asarray(ids.data if isinstance(ids, Tensor) else ids)


for _name in (
    "concatenate",
    "stack",
    "where",
    "embedding",
    "linear",
    "layer_norm",
    "rms_norm",
    "cross_entropy",
    "linear_cross_entropy",
):
    globals()[_name].__doc__ = ops.TABLE[_name].__doc__

"""The layers that hold weights: Linear, Embedding, the norms, and Dropout, which holds a Generator.

Weights start as PyTorch's do; a model that its paper starts otherwise says so in its own file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


class Linear(Module):
    """y = x W^T + b; x (..., in_features), W (out_features, in_features), y (..., out_features).

    In place of a Tensor, weight may be an array of blocks of 8 or 4 bits: quantized.py.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, rng: np.random.Generator
    ):
        bound = 1 / math.sqrt(in_features)
        self.weight = uniform((out_features, in_features), bound, rng)
        self.bias = uniform((out_features,), bound, rng) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def onto(
        self, residual: Tensor, x: Tensor, p: float = 0.0, rng: np.random.Generator | None = None
    ) -> Tensor:
        """residual + dropout(x W^T + b): how a branch of a transformer ends."""
        return F.linear_residual(x, self.weight, self.bias, residual, p, rng, self.training)


def are_plain(*layers: Module) -> bool:
    """Whether each is a Linear itself, whose weight an operation that joins several may read.

    A layer with an adapter, or one whose weight is stored otherwise, can only be called.
    """
    return all(type(layer) is Linear for layer in layers)


class Embedding(Module):
    """One row of D numbers for each of V ids; ids (...) -> (..., D)."""

    def __init__(self, num_embeddings: int, embedding_dim: int, *, rng: np.random.Generator):
        self.weight = normal((num_embeddings, embedding_dim), 1.0, rng)

    def forward(self, ids: np.ndarray) -> Tensor:
        return F.embedding(ids, self.weight)


def token_ids(ids: Any, context: int, past: int = 0) -> np.ndarray:
    """What a model reads, ids (B, T) in an array, a Tensor or lists, as an array.

    Raises InputError for another shape, and where the ids and the `past` tokens before them are
    more than the model's context.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise InputError(
            f"ids of shape {ids.shape}; a model reads (B, T), a batch of B texts of T tokens: "
            "for one text give [ids]"
        )
    end = past + ids.shape[1]
    if end > context:
        raise InputError(f"{end} tokens are more than the model's context of {context}")
    return ids


class LayerNorm(Module):
    """Rows of mean 0 and variance 1, then a learned scale and, unless bias=False, a shift."""

    def __init__(self, width: int, *, eps: float = 1e-5, bias: bool = True):
        self.weight = constant((width,), 1.0)
        self.bias = constant((width,), 0.0) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """Rows of mean square 1, then a learned scale."""

    def __init__(self, width: int, *, eps: float = 1e-6):
        self.weight = constant((width,), 1.0)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight, self.eps)


class Dropout(Module):
    """In training each value is 0 with probability p, else divided by 1 - p; in evaluation x
    itself.
    """

    def __init__(self, p: float, *, rng: np.random.Generator):
        self.p, self.rng = p, rng

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.rng, self.training)


def parameter(values: np.ndarray) -> Tensor:
    """Values as a float32 Tensor that requires a gradient."""
    return Tensor(np.asarray(values, np.float32), requires_grad=True)


def uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator) -> Tensor:
    """A parameter from the uniform distribution on [-bound, bound)."""
    return parameter((rng.random(shape, dtype=np.float32) * 2 - 1) * bound)


def normal(shape: tuple[int, ...], std: float, rng: np.random.Generator) -> Tensor:
    """A parameter from the normal distribution of mean 0."""
    return parameter(rng.standard_normal(shape, dtype=np.float32) * std)


def constant(shape: tuple[int, ...], value: float) -> Tensor:
    """A parameter that starts as one value."""
    return parameter(np.full(shape, value, np.float32))

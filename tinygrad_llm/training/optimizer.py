"""AdamW over one flat buffer: the weights that decay first, then those that do not.

The formula is in ops/optimizer.py. Gathering the parameters lets the gradient norm, the clipping
and the update each pass once over contiguous memory, and gives `backward` a place to put gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinygrad_llm import twins
from tinygrad_llm.ops import optimizer as ops
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class AdamWConfig:
    """How AdamW turns gradients into steps."""

    beta1: float = 0.9  # memory of the gradient's mean
    beta2: float = 0.99  # memory of its square
    eps: float = 1e-8  # added to the root of the square
    weight_decay: float = 0.1  # on matrices alone, not on biases and norms


class AdamW:
    """Owns the memory of the parameters that require a gradient, of their gradients and of their
    moments.

    weights, gradients, mean, square: float32 arrays of one length. A parameter's `data` and, from
    the first `backward` on, its `grad` are views of the first two. steps: how many updates were
    made.
    """

    def __init__(self, parameters: Iterable[Tensor], config: AdamWConfig | None = None):
        self.config = config or AdamWConfig()
        trained = [p for p in parameters if p.requires_grad]
        self.parameters = sorted(trained, key=lambda p: p.ndim < 2)  # stable: matrices come first
        self.decayed = sum(p.size for p in trained if p.ndim >= 2)
        size = sum(p.size for p in trained)
        self.weights = np.empty(size, np.float32)
        self.gradients, self.mean, self.square = (np.zeros(size, np.float32) for _ in range(3))
        self.steps = 0
        start = 0
        for p in self.parameters:
            view = slice(start, start := start + p.size)
            self.weights[view] = p.data.reshape(-1)
            p.data = self.weights[view].reshape(p.shape)
            p.room, p.grad = self.gradients[view].reshape(p.shape), None

    def zero_grad(self) -> None:
        """Forget every gradient; the first one that `backward` then finds overwrites the memory."""
        for p in self.parameters:
            p.grad = None

    def _gather(self) -> None:
        """Bring every gradient to where it is read: 0 if none came, a copy if it lies elsewhere."""
        for p in self.parameters:
            if p.grad is not p.room:
                p.room[...] = 0 if p.grad is None else p.grad
                p.grad = p.room

    def grad_norm(self) -> float:
        """The Euclidean norm of all gradients together."""
        self._gather()
        square_norm = twins.choose(ops.square_norm, self.gradients.dtype)
        return math.sqrt(square_norm(self.gradients))

    def step(self, lr: float, *, scale: float = 1.0) -> None:
        """Update every weight once with gradients times `scale`, and let the parameters know."""
        self._gather()
        self.steps += 1
        config, update = self.config, twins.choose(ops.adamw, self.weights.dtype)
        for part, decay in (
            (slice(0, self.decayed), config.weight_decay),
            (slice(self.decayed, None), 0.0),
        ):
            update(
                self.weights[part],
                self.gradients[part],
                self.mean[part],
                self.square[part],
                lr=lr,
                beta1=config.beta1,
                beta2=config.beta2,
                eps=config.eps,
                weight_decay=decay,
                step=self.steps,
                scale=scale,
            )
        for p in self.parameters:
            p.version += 1


def clip_scale(norm: float, limit: float) -> float:
    """The factor that brings a gradient of this norm down to the limit; 1 below it, or where limit
    is 0.
    """
    return limit / norm if 0 < limit < norm else 1.0

"""How good a model is on text it was not trained on: every token of it counts once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.nn import Module
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.training.objectives import Loss


@dataclass(frozen=True)
class Score:
    """loss: nats per token. bits_per_byte: loss / log 2 * tokens / bytes, comparable across
    tokenizers.
    """

    loss: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_byte(self) -> float:
        return self.loss * self.tokens / (math.log(2) * self.bytes) if self.bytes else math.nan

    @property
    def rank(self) -> tuple[float, ...]:
        """What the best weights of a run are chosen by."""
        return (self.loss,)

    def row(self) -> dict[str, float]:
        """The figures as a run's journal holds them."""
        return {"validation_loss": self.loss, "bits_per_byte": self.bits_per_byte}

    def __str__(self) -> str:
        return f"loss {self.loss:.4f} nats/token, {self.bits_per_byte:.3f} bits/byte"


def evaluate(
    model: Module,
    objective: Callable[..., Loss],
    batches: Iterable[tuple[np.ndarray, ...]],
    token_bytes: np.ndarray,
) -> Score:
    """The mean loss over all batches, dropout off. token_bytes (V,): the length in bytes of each
    token.
    """
    was_training = model.training
    model.eval()
    total, tokens, size = 0.0, 0, 0
    try:
        with no_grad():
            for *inputs, targets in batches:
                loss = objective(model, *inputs, targets)
                total, tokens = total + loss.total.item(), tokens + loss.tokens
                size += int(token_bytes[targets[targets >= 0]].sum())
    finally:
        model.train(was_training)
    return Score(total / max(tokens, 1), tokens, size)

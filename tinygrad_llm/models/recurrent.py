"""A recurrent language model: gated recurrent units, which read a text one token after another.

Cho et al. 2014, arXiv 1406.1078, section 2.3, in PyTorch's form (the reset gate stands behind the
product, as in its torch.nn.GRU, whose weights fit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.config import check_shape
from tinygrad_llm.nn import Dropout, Embedding, Linear, Module
from tinygrad_llm.nn.layers import normal, token_ids, uniform
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class GRUConfig:
    """The shape of a recurrent language model."""

    vocab_size: int = 65  # tokens in the vocabulary, V
    n_positions: int = 64  # the longest text, in tokens; no weight depends on it
    n_layer: int = 2  # units one above the other
    n_embd: int = 256  # numbers in a state, D
    dropout: float = 0.0  # probability, on embeddings and between layers

    def __post_init__(self) -> None:
        check_shape(self)


class GRU(Module):
    """One layer of units: x (B, T, in) -> the state after each token (B, T, D), from a state of 0.

    weight_ih (3 D, in) and weight_hh (3 D, D) hold the reset gate, the update gate and the new
    state, one above the other.
    """

    def __init__(self, inputs: int, width: int, *, rng: np.random.Generator):
        bound = 1 / math.sqrt(width)
        self.width = width
        self.weight_ih = uniform((3 * width, inputs), bound, rng)
        self.weight_hh = uniform((3 * width, width), bound, rng)
        self.bias_ih = uniform((3 * width,), bound, rng)
        self.bias_hh = uniform((3 * width,), bound, rng)

    def forward(self, x: Tensor) -> Tensor:
        batch, width = x.shape[0], self.width
        h, states = Tensor(np.zeros((batch, width), x.dtype)), []
        from_input = F.linear(x, self.weight_ih, self.bias_ih)  # of all tokens at once (B, T, 3 D)
        for token in F.split(from_input, [1] * x.shape[1], axis=1):
            gates, new = F.split(token.reshape(batch, 3 * width), [2 * width, width], axis=-1)
            h = self.step(gates, new, h)
            states.append(h)
        return F.stack(states, axis=1)

    def step(self, gates: Tensor, new: Tensor, h: Tensor) -> Tensor:
        """r, z = sigmoid(gates + W_rz h), n = tanh(new + r W_n h); the state n + z (h - n).

        gates (B, 2 D) and new (B, D): what the token says. h (B, D): the state before it.
        """
        sizes = [2 * self.width, self.width]
        of_gates, of_new = F.split(F.linear(h, self.weight_hh, self.bias_hh), sizes, axis=-1)
        r, z = F.split(F.sigmoid(gates + of_gates), [self.width] * 2, axis=-1)
        n = F.tanh(new + r * of_new)
        return n + z * (h - n)


class RecurrentLM(Module):
    """Token ids in, one score for every possible next token out, at each position."""

    def __init__(self, config: GRUConfig, *, rng: np.random.Generator):
        self.config, width = config, config.n_embd
        self.wte = Embedding(config.vocab_size, width, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.layers = [GRU(width, width, rng=rng) for _ in range(config.n_layer)]
        self.lm_head = Linear(width, config.vocab_size, bias=False, rng=rng)
        self.wte.weight.copy_(normal(self.wte.weight.shape, 1 / math.sqrt(width), rng))
        self.lm_head.weight = self.wte.weight

    def forward(self, ids: np.ndarray) -> Tensor:
        """ids (B, T) -> logits (B, T, V)."""
        return self.lm_head(self.hidden(ids))

    def hidden(self, ids: np.ndarray) -> Tensor:
        """ids (B, T) -> the states (B, T, D), from which lm_head makes the logits."""
        x = self.drop(self.wte(token_ids(ids, self.config.n_positions)))
        for layer in self.layers:
            x = self.drop(layer(x))
        return x

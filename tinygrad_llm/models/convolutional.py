"""A convolutional language model: each layer sees a few tokens back, and gates what it lets pass.

Dauphin et al. 2017, arXiv 1612.08083, sections 2 and 3. Norms before each layer stand in for the
paper's weight normalization.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.config import check_shape
from tinygrad_llm.nn import Dropout, Embedding, LayerNorm, Linear, Module
from tinygrad_llm.nn.layers import normal, token_ids
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class GatedConvConfig:
    """The shape of a convolutional model; it sees n_layer (kernel_size - 1) tokens back."""

    vocab_size: int = 65  # tokens in the vocabulary, V
    n_positions: int = 64  # the longest text, in tokens; no weight depends on it
    n_layer: int = 6  # convolutions one above the other
    n_embd: int = 128  # channels, D
    kernel_size: int = 4  # tokens that a layer sees, the one at its place among them, K
    dropout: float = 0.0  # probability, on embeddings and behind each layer

    def __post_init__(self) -> None:
        check_shape(self)


class CausalConv1d(Module):
    """y_t = b + sum over k of W_k x_{t - K + 1 + k}; x is 0 before the text: (B, T, in) ->
    (B, T, out).

    weight (out, K in) holds W_0 to W_{K - 1} side by side, so that the sum is one product.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, rng: np.random.Generator):
        self.size = size
        self.linear = Linear(size * inputs, outputs, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        padded = x
        if self.size > 1:
            nothing = Tensor(np.zeros((batch, self.size - 1, width), x.dtype))
            padded = F.concatenate([nothing, x], axis=1)
        seen = [padded[:, k : k + length] for k in range(self.size)]
        return self.linear(F.concatenate(seen, axis=-1))  # (B, T, K in) -> (B, T, out)


class Block(Module):
    """x + dropout(a * sigmoid(b)), where a and b are two convolutions of norm(x)."""

    def __init__(self, config: GatedConvConfig, rng: np.random.Generator):
        width = config.n_embd
        self.norm = LayerNorm(width)
        self.conv = CausalConv1d(width, 2 * width, config.kernel_size, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.split(self.conv(self.norm(x)), [x.shape[-1]] * 2, axis=-1)
        return x + self.drop(a * F.sigmoid(b))


class ConvolutionalLM(Module):
    """Token ids in, one score for every possible next token out, at each position."""

    def __init__(self, config: GatedConvConfig, *, rng: np.random.Generator):
        self.config, width = config, config.n_embd
        self.wte = Embedding(config.vocab_size, width, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.layers = [Block(config, rng) for _ in range(config.n_layer)]
        self.norm = LayerNorm(width)
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
            x = layer(x)
        return self.norm(x)

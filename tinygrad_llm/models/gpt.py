"""GPT: the decoder of the transformer without the encoder, trained to predict the next token.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), with its
variants: output weights tied to the token embedding or not, biases everywhere, nowhere, or not on
queries, keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.config import check_shape
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Dropout, Embedding, LayerNorm, Linear, Module, MultiHeadAttention
from tinygrad_llm.nn.attention import KeyValueCache
from tinygrad_llm.nn.layers import are_plain, constant, normal, token_ids
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. Names are those of Hugging Face's GPT2Config; the defaults are GPT-2
    small.
    """

    vocab_size: int = 50257  # tokens in the vocabulary, V
    n_positions: int = 1024  # the longest context, in tokens
    n_layer: int = 12  # blocks
    n_head: int = 12  # attention heads, H
    n_embd: int = 768  # width of the residual stream, D
    dropout: float = 0.0  # probability, on embeddings, attention weights and both branches
    bias: bool = True  # biases in linear layers and norms
    qkv_bias: bool = True  # a bias on queries, keys and values, where bias is true
    tie_word_embeddings: bool = True  # the output layer is the token embedding
    layer_norm_epsilon: float = 1e-5  # added to the variance
    initializer_range: float = 0.02  # standard deviation of fresh weights

    def __post_init__(self) -> None:
        check_shape(self)
        if self.n_embd % self.n_head:
            raise InputError(
                f"n_embd {self.n_embd} is not divisible by n_head {self.n_head}; "
                f"the nearest width that is: {math.ceil(self.n_embd / self.n_head) * self.n_head}"
            )
        if not 0 < self.initializer_range < 1:
            raise InputError(f"initializer_range {self.initializer_range} is not in (0, 1)")


# 0.02 suits a width of 768. The narrow models start from 0.02 sqrt(768 / width), here 0.05: it
# takes 0.1 nats a character off what char-cpu reaches in 2,000 steps.
NARROW = 0.05
PRESETS = {
    "gpt2": GPTConfig(),
    "gpt2-medium": GPTConfig(n_layer=24, n_head=16, n_embd=1024),
    "gpt2-large": GPTConfig(n_layer=36, n_head=20, n_embd=1280),
    "gpt2-xl": GPTConfig(n_layer=48, n_head=25, n_embd=1600),
    "baby": GPTConfig(vocab_size=65, n_positions=256, n_layer=6, n_head=6, n_embd=384, bias=False),
    "char-cpu": GPTConfig(
        vocab_size=65,
        n_positions=64,
        n_layer=4,
        n_head=4,
        n_embd=128,
        bias=False,
        initializer_range=NARROW,
    ),
    "default": GPTConfig(
        vocab_size=2048,
        n_positions=128,
        n_layer=4,
        n_head=4,
        n_embd=128,
        initializer_range=NARROW,
    ),
}


class GPT(Module):
    """Token ids in, one score for every possible next token out, at each position."""

    def __init__(self, config: GPTConfig, *, rng: np.random.Generator):
        self.config = config
        self.wte = Embedding(config.vocab_size, config.n_embd, rng=rng)
        self.wpe = Embedding(config.n_positions, config.n_embd, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.h = [Block(config, rng) for _ in range(config.n_layer)]
        self.ln_f = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon, bias=config.bias)
        self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False, rng=rng)
        self._initialize(rng)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.wte.weight

    def forward(self, ids: np.ndarray, *, cache: Sequence[KeyValueCache] | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V). With a cache, ids are those that follow what the cache
        holds.
        """
        return self.lm_head(self.hidden(ids, cache=cache))

    def hidden(self, ids: np.ndarray, *, cache: Sequence[KeyValueCache] | None = None) -> Tensor:
        """ids (B, T) -> the last layer's normalized states (B, T, D), from which lm_head makes the
        logits.
        """
        past = len(cache[0]) if cache is not None else 0
        return self.ln_f(self.through(self.embed(ids, past), cache=cache))

    def embed(self, ids: np.ndarray, past: int = 0) -> Tensor:
        """ids (B, T), which follow `past` others -> what the first block reads (B, T, D)."""
        ids = token_ids(ids, self.config.n_positions, past)
        places = np.arange(past, past + ids.shape[1])
        return self.drop(self.wte(ids) + self.wpe(places))

    def beside(self, past: int, count: int) -> tuple[np.ndarray, ...]:
        """What the blocks read beside the states of `count` tokens: nothing, places are in them."""
        return ()

    def through(
        self,
        x: Tensor,
        first: int = 0,
        end: int | None = None,
        *,
        beside: tuple[np.ndarray, ...] = (),
        cache: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """What block number `first` reads -> what the one before `end` gives, or the last one; all
        (B, T, D).
        """
        for i, block in enumerate(self.h[first:end], first):
            x = block(x, cache=cache[i] if cache is not None else None)
        return x

    def scores(self, x: Tensor) -> Tensor:
        """What the last block gives (..., D) -> logits (..., V)."""
        return self.lm_head(self.ln_f(x))

    def _initialize(self, rng: np.random.Generator) -> None:
        """Weights N(0, initializer_range^2), biases 0; what adds to the residual stream is scaled
        by 1 / sqrt(2 layers).
        """
        std = self.config.initializer_range
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("attn.out_proj.weight", "mlp.c_proj.weight"))
                scale = std / math.sqrt(2 * self.config.n_layer) if residual else std
                parameter.copy_(normal(parameter.shape, scale, rng))
            elif name.endswith(".bias"):
                parameter.copy_(constant(parameter.shape, 0.0))


class Block(Module):
    """x + dropout(attention(norm(x))), then x + dropout(mlp(norm(x)))."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator):
        width, eps, bias = config.n_embd, config.layer_norm_epsilon, config.bias
        self.ln_1 = LayerNorm(width, eps=eps, bias=bias)
        self.attn = MultiHeadAttention(
            width,
            config.n_head,
            bias=bias,
            qkv_bias=bias and config.qkv_bias,
            dropout=config.dropout,
            residual_dropout=config.dropout,
            rng=rng,
        )
        self.ln_2 = LayerNorm(width, eps=eps, bias=bias)
        self.mlp = MLP(config, rng)

    def forward(self, x: Tensor, *, cache: KeyValueCache | None = None) -> Tensor:
        x = self.attn(self.ln_1(x), is_causal=True, cache=cache, residual=x)
        return self.mlp(self.ln_2(x), residual=x)


class MLP(Module):
    """Each position alone: up to four times the width, GELU, and back."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator):
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd, bias=config.bias, rng=rng)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd, bias=config.bias, rng=rng)
        self.dropout, self.rng = config.dropout, rng

    def forward(self, x: Tensor, *, residual: Tensor) -> Tensor:
        """residual + dropout(c_proj(GELU(c_fc(x)))), of which backward keeps but c_fc(x)."""
        into, out = self.c_fc, self.c_proj
        if not are_plain(into, out):
            wide = F.gelu(into(x), approximate="tanh")
            return out.onto(residual, wide, self.dropout, self.rng)
        return F.feed_forward(
            x,
            into.weight,
            into.bias,
            out.weight,
            out.bias,
            residual,
            self.dropout,
            self.rng,
            self.training,
            approximate="tanh",
        )

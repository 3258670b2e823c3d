"""Llama: a GPT with rotary positions, RMSNorm, SwiGLU, and key-value heads that queries share.

Touvron et al. 2023, arXiv 2302.13971, section 2.2; shared key-value heads as in Llama 2, arXiv
2307.09288. SmolLM2 and many other open models have this shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.config import check_shape
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Embedding, Linear, Module, MultiHeadAttention, RMSNorm
from tinygrad_llm.nn.attention import KeyValueCache
from tinygrad_llm.nn.layers import are_plain, constant, normal, token_ids
from tinygrad_llm.nn.positions import rotation
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a Llama. Names are those of Hugging Face's LlamaConfig; the defaults are the
    smallest Llama of the paper.
    """

    vocab_size: int = 32000  # tokens in the vocabulary, V
    hidden_size: int = 4096  # width of the residual stream, D
    intermediate_size: int = 11008  # width inside the feed-forward layer
    num_hidden_layers: int = 32  # blocks
    num_attention_heads: int = 32  # query heads, H
    num_key_value_heads: int = 32  # key-value heads, G; each serves H / G query heads
    max_position_embeddings: int = 2048  # the longest context, in tokens
    rope_theta: float = 10000.0  # base of the angles by which positions turn
    rms_norm_eps: float = 1e-6  # added to the mean square
    attention_bias: bool = False  # biases in the attention's projections
    mlp_bias: bool = False  # biases in the feed-forward layer
    attention_dropout: float = 0.0  # probability, on attention weights
    initializer_range: float = 0.02  # standard deviation of fresh weights
    tie_word_embeddings: bool = False  # the output layer is the token embedding

    def __post_init__(self) -> None:
        check_shape(self)
        heads, groups = self.num_attention_heads, self.num_key_value_heads
        if self.hidden_size % (2 * heads):
            raise InputError(
                f"hidden_size {self.hidden_size} is not divisible by 2 num_attention_heads = "
                f"{2 * heads}: rotary positions turn pairs of a head's numbers"
            )
        if heads % groups:
            raise InputError(
                f"num_attention_heads {heads} is not divisible by num_key_value_heads {groups}"
            )
        for name, least, most in (
            ("rope_theta", 1, math.inf),
            ("rms_norm_eps", 0, 1),
            ("initializer_range", 0, 1),
        ):
            if not least < getattr(self, name) < most:
                raise InputError(f"{name} {getattr(self, name)} is not in ({least}, {most})")

    @property
    def n_positions(self) -> int:
        """GPT's name for max_position_embeddings, which inference asks every model for."""
        return self.max_position_embeddings

    @property
    def n_layer(self) -> int:
        """GPT's name for num_hidden_layers, which inference asks every model for."""
        return self.num_hidden_layers


class Llama(Module):
    """Token ids in, one score for every possible next token out, at each position."""

    def __init__(self, config: LlamaConfig, *, rng: np.random.Generator):
        self.config = config
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size, rng=rng)
        self.layers = [Block(config, rng) for _ in range(config.num_hidden_layers)]
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False, rng=rng)
        self._initialize(rng)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

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
        return self.norm(self.through(self.embed(ids, past), cache=cache))

    def embed(self, ids: np.ndarray, past: int = 0) -> Tensor:
        """ids (B, T), which follow `past` others -> what the first block reads (B, T, D)."""
        return self.embed_tokens(token_ids(ids, self.config.max_position_embeddings, past))

    def beside(self, past: int, count: int) -> tuple[np.ndarray, ...]:
        """What the blocks read beside the states of `count` tokens, which follow `past` others: cos
        and sin of their places' angles, both (T, D / H / 2).
        """
        head_width = self.config.hidden_size // self.config.num_attention_heads
        return rotation(past, past + count, head_width, self.config.rope_theta)

    def through(
        self,
        x: Tensor,
        first: int = 0,
        end: int | None = None,
        *,
        beside: tuple[np.ndarray, ...] | None = None,
        cache: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """What block number `first` reads -> what the one before `end` gives, or the last one; all
        (B, T, D). beside: from the method of that name, which is called where it is None.
        """
        past = len(cache[0]) if cache is not None and beside is None else 0
        cos, sin = beside or self.beside(past, x.shape[1])

        def rotate(x: Tensor) -> Tensor:
            return F.rotary(x, cos=cos, sin=sin)

        for i, layer in enumerate(self.layers[first:end], first):
            x = layer(x, rotate=rotate, cache=cache[i] if cache is not None else None)
        return x

    def scores(self, x: Tensor) -> Tensor:
        """What the last block gives (..., D) -> logits (..., V)."""
        return self.lm_head(self.norm(x))

    def _initialize(self, rng: np.random.Generator) -> None:
        """Weights N(0, initializer_range^2), biases 0, as in transformers."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                parameter.copy_(normal(parameter.shape, self.config.initializer_range, rng))
            elif name.endswith(".bias"):
                parameter.copy_(constant(parameter.shape, 0.0))


class Block(Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: LlamaConfig, rng: np.random.Generator):
        width, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = RMSNorm(width, eps=eps)
        self.self_attn = MultiHeadAttention(
            width,
            config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            bias=config.attention_bias,
            dropout=config.attention_dropout,
            rng=rng,
        )
        self.post_attention_layernorm = RMSNorm(width, eps=eps)
        self.mlp = SwiGLU(width, config.intermediate_size, bias=config.mlp_bias, rng=rng)

    def forward(
        self,
        x: Tensor,
        *,
        rotate: Callable[[Tensor], Tensor],
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        normed = self.input_layernorm(x)
        x = self.self_attn(normed, is_causal=True, rotate=rotate, cache=cache, residual=x)
        return self.mlp(self.post_attention_layernorm(x), residual=x)


class SwiGLU(Module):
    """Each position alone: what W_up makes of it passes as far as W_gate lets it, and W_down brings
    it back. Shazeer 2020, arXiv 2002.05202.
    """

    def __init__(self, width: int, inner: int, *, bias: bool = False, rng: np.random.Generator):
        self.gate_proj = Linear(width, inner, bias=bias, rng=rng)
        self.up_proj = Linear(width, inner, bias=bias, rng=rng)
        self.down_proj = Linear(inner, width, bias=bias, rng=rng)

    def forward(self, x: Tensor, *, residual: Tensor) -> Tensor:
        """residual + W_down (silu(W_gate x) * W_up x), of which backward keeps but the two
        products.
        """
        layers = self.gate_proj, self.up_proj, self.down_proj
        if not are_plain(*layers):
            wide = F.silu(self.gate_proj(x)) * self.up_proj(x)
            return self.down_proj.onto(residual, wide)
        return F.swiglu(x, *(p for layer in layers for p in (layer.weight, layer.bias)), residual)

"""The transformer: an encoder reads a text, a decoder writes another one, reading the first.

Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762: norms after each addition (or, a
setting, before each branch), waves as positions, one embedding for both texts and for the output.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.config import check_shape
from tinygrad_llm.errors import InputError, suggest
from tinygrad_llm.nn import Dropout, Embedding, LayerNorm, Linear, Module, MultiHeadAttention
from tinygrad_llm.nn.attention import KeysValues, KeyValueCache
from tinygrad_llm.nn.layers import constant, normal, token_ids, uniform
from tinygrad_llm.nn.positions import sinusoids
from tinygrad_llm.tensor import Tensor

ACTIVATIONS: dict[str, Callable] = {"relu": F.relu, "swish": F.silu, "gelu": F.gelu}


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """The shape of a transformer. Names are those of Hugging Face's MarianConfig; the defaults are
    the paper's base model.
    """

    vocab_size: int = 37000  # tokens of both languages together, V
    d_model: int = 512  # width of every state, D
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_attention_heads: int = 8  # H
    decoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048  # width inside the feed-forward layer
    decoder_ffn_dim: int = 2048
    max_position_embeddings: int = 512  # the longest text, in tokens
    activation_function: str = "relu"  # inside the feed-forward layer: relu, swish or gelu
    dropout: float = 0.1  # probability, on embeddings and on every branch
    attention_dropout: float = 0.0  # probability, on attention weights
    scale_embedding: bool = True  # embeddings are multiplied by sqrt(D)
    pre_norm: bool = False  # norms before the branches, and one at the end: Xiong et al. 2020
    pad_token_id: int = 0  # fills a batch's shorter texts up; nobody sees it
    eos_token_id: int = 1  # ends a text, on both sides
    decoder_start_token_id: int = 2  # the decoder reads it before the first token

    def __post_init__(self) -> None:
        check_shape(self)
        for heads in ("encoder_attention_heads", "decoder_attention_heads"):
            if self.d_model % getattr(self, heads):
                raise InputError(
                    f"d_model {self.d_model} is not divisible by {heads} {getattr(self, heads)}"
                )
        if self.activation_function not in ACTIVATIONS:
            raise suggest(self.activation_function, ACTIVATIONS, "activation_function")


class LayerCache(Protocol):
    """What a decoder layer keeps between two tokens: its own keys and values so far, and those of
    the memory, None until they were made.
    """

    own: KeyValueCache
    memory: KeysValues | None


class EncoderDecoder(Module):
    """Source and target ids in, scores of the token after each target token out."""

    def __init__(self, config: EncoderDecoderConfig, *, rng: np.random.Generator):
        self.config = config
        self.shared = Embedding(config.vocab_size, config.d_model, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.encoder = [EncoderLayer(config, rng) for _ in range(config.encoder_layers)]
        self.decoder = [DecoderLayer(config, rng) for _ in range(config.decoder_layers)]
        if config.pre_norm:
            self.encoder_norm = LayerNorm(config.d_model)
            self.decoder_norm = LayerNorm(config.d_model)
        self._initialize(rng)

    def forward(
        self, source: np.ndarray, target: np.ndarray, *, source_mask: np.ndarray | None = None
    ) -> Tensor:
        """source (B, S) and target (B, T) of ids -> logits (B, T, V); masks as in encode."""
        return self.logits(self.hidden(source, target, source_mask=source_mask))

    def hidden(
        self, source: np.ndarray, target: np.ndarray, *, source_mask: np.ndarray | None = None
    ) -> Tensor:
        """The decoder's last states (B, T, D), from which `logits` makes the scores."""
        if source_mask is None:
            source_mask = self.mask_of(source)
        return self.decode(target, self.encode(source, source_mask), source_mask)

    def encode(self, source: np.ndarray, source_mask: np.ndarray | None = None) -> Tensor:
        """ids (B, S) -> the memory (B, S, D), one state for each token.

        source_mask (B, S): True or 1 for tokens, False or 0 for padding, which no token sees; None
        where all are tokens. The memory of padding means nothing.
        """
        x, seen = self._embed(source), _seen(source_mask)
        for layer in self.encoder:
            x = layer(x, seen)
        return self.encoder_norm(x) if self.config.pre_norm else x

    def decode(
        self,
        target: np.ndarray,
        memory: Tensor,
        source_mask: np.ndarray | None = None,
        *,
        cache: Sequence[LayerCache] | None = None,
    ) -> Tensor:
        """ids (B, T) that each see those before them and the memory (B, S, D) -> states (B, T, D).

        With a cache, ids are those that follow what the cache holds. Padding stands at the end of
        a text, so that no token sees it.
        """
        past = len(cache[0].own) if cache is not None else 0
        x, seen = self._embed(target, past), _seen(source_mask)
        for i, layer in enumerate(self.decoder):
            x = layer(x, memory, seen, cache=cache[i] if cache is not None else None)
        return self.decoder_norm(x) if self.config.pre_norm else x

    def logits(self, states: Tensor) -> Tensor:
        """states (..., D) -> the scores of every token (..., V), by the embedding itself."""
        return F.linear(states, self.shared.weight)

    def mask_of(self, source: np.ndarray) -> np.ndarray | None:
        """What encode and decode take as source_mask: which ids (B, S) are tokens, None for all."""
        mask = np.asarray(source) != self.config.pad_token_id
        return None if mask.all() else mask

    def _embed(self, ids: np.ndarray, past: int = 0) -> Tensor:
        ids = token_ids(ids, self.config.max_position_embeddings, past)
        width, end = self.config.d_model, past + ids.shape[1]
        x = self.shared(ids)
        if self.config.scale_embedding:
            x = x * math.sqrt(width)
        waves = sinusoids(1 << (end - 1).bit_length(), width)  # few sizes, so few tables
        return self.drop(x + waves[past:end])

    def _initialize(self, rng: np.random.Generator) -> None:
        """Embeddings N(0, 1/D), biases 0, matrices uniform as Glorot and Bengio 2010 would."""
        for name, parameter in self.named_parameters():
            if name == "shared.weight":
                std = 1 / math.sqrt(self.config.d_model)
                parameter.copy_(normal(parameter.shape, std, rng))
            elif parameter.ndim == 2:
                bound = math.sqrt(6 / sum(parameter.shape))
                parameter.copy_(uniform(parameter.shape, bound, rng))
            elif name.endswith(".bias"):
                parameter.copy_(constant(parameter.shape, 0.0))


class EncoderLayer(Module):
    """norm(x + attention(x)), then norm(x + feed_forward(x)); or norms before, as _branch says."""

    def __init__(self, config: EncoderDecoderConfig, rng: np.random.Generator):
        self.self_attn = _attention(config, config.encoder_attention_heads, rng)
        self.self_attn_layer_norm = LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config, config.encoder_ffn_dim, rng)
        self.final_layer_norm = LayerNorm(config.d_model)
        self.pre_norm = config.pre_norm

    def forward(self, x: Tensor, seen: np.ndarray | None = None) -> Tensor:
        attn = functools.partial(self.self_attn, mask=seen)
        x = _branch(x, attn, self.self_attn_layer_norm, self.pre_norm)
        return _branch(x, self.feed_forward, self.final_layer_norm, self.pre_norm)


class DecoderLayer(Module):
    """The same with a second attention between the two: queries from x, the rest from memory."""

    def __init__(self, config: EncoderDecoderConfig, rng: np.random.Generator):
        self.self_attn = _attention(config, config.decoder_attention_heads, rng)
        self.self_attn_layer_norm = LayerNorm(config.d_model)
        self.encoder_attn = _attention(config, config.decoder_attention_heads, rng)
        self.encoder_attn_layer_norm = LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config, config.decoder_ffn_dim, rng)
        self.final_layer_norm = LayerNorm(config.d_model)
        self.pre_norm = config.pre_norm

    def forward(
        self,
        x: Tensor,
        memory: Tensor | KeysValues,
        seen: np.ndarray | None = None,
        *,
        cache: LayerCache | None = None,
    ) -> Tensor:
        own = None if cache is None else cache.own
        if cache is not None:
            if cache.memory is None:
                cache.memory = self.encoder_attn.project_memory(memory)
            memory = cache.memory
        attn = functools.partial(self.self_attn, is_causal=True, cache=own)
        cross = functools.partial(self.encoder_attn, memory=memory, mask=seen)
        x = _branch(x, attn, self.self_attn_layer_norm, self.pre_norm)
        x = _branch(x, cross, self.encoder_attn_layer_norm, self.pre_norm)
        return _branch(x, self.feed_forward, self.final_layer_norm, self.pre_norm)


def _branch(x: Tensor, branch: Callable, norm: LayerNorm, pre_norm: bool) -> Tensor:
    """norm(x + branch(x)) as in the paper; or x + branch(norm(x)). The branch itself adds."""
    return branch(norm(x), residual=x) if pre_norm else norm(branch(x, residual=x))


class FeedForward(Module):
    """Each position alone: residual + dropout(fc2(activation(fc1(x))))."""

    def __init__(self, config: EncoderDecoderConfig, inner: int, rng: np.random.Generator):
        self.fc1 = Linear(config.d_model, inner, rng=rng)
        self.fc2 = Linear(inner, config.d_model, rng=rng)
        self.activation, self.dropout, self.rng = config.activation_function, config.dropout, rng

    def forward(self, x: Tensor, *, residual: Tensor) -> Tensor:
        into, out = self.fc1, self.fc2
        if self.activation == "gelu":  # one operation, that keeps less
            weights = into.weight, into.bias, out.weight, out.bias
            return F.feed_forward(x, *weights, residual, self.dropout, self.rng, self.training)
        inner = ACTIVATIONS[self.activation](into(x))
        return out.onto(residual, inner, self.dropout, self.rng)


def _attention(
    config: EncoderDecoderConfig, heads: int, rng: np.random.Generator
) -> MultiHeadAttention:
    return MultiHeadAttention(
        config.d_model,
        heads,
        dropout=config.attention_dropout,
        residual_dropout=config.dropout,
        rng=rng,
    )


def _seen(mask: np.ndarray | None) -> np.ndarray | None:
    """The mask of attention (B, 1, 1, S) that hides padding."""
    return None if mask is None else (np.asarray(mask) != 0)[:, None, None, :]

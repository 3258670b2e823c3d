"""Multi-head attention, one module for every model: mask, positions and cache come from the model
that uses it.

Vaswani et al. 2017, section 3.2.2; grouped key-value heads: Ainslie et al. 2023, arXiv 2305.13245.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


class KeyValueCache(Protocol):
    """What attention asks of a cache: take the new keys and values (B, G, T, D), give all so far
    (B, G, S, D).
    """

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]: ...


class KeysValues(NamedTuple):
    """What attention made of a memory: keys and values, both (B, G, S, D)."""

    keys: Tensor
    values: Tensor


class MultiHeadAttention(Module):
    """H heads look at the sequence in parallel, each in its own width/H dimensions.

    width: of x and of the result. kv_heads: key-value heads, each shared by heads/kv_heads query
    heads. dropout: of the weights; residual_dropout: of what is added to a residual. in_proj holds
    the query, key and value projections one above the other, so that self-attention is one product.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        bias: bool = True,
        qkv_bias: bool | None = None,
        dropout: float = 0.0,
        residual_dropout: float = 0.0,
        rng: np.random.Generator,
    ):
        if width % heads:
            raise InputError(f"width {width} is not divisible by {heads} heads")
        self.heads, self.kv_heads = heads, kv_heads or heads
        self.head_width = width // heads
        self.sizes = [width, self.kv_heads * self.head_width, self.kv_heads * self.head_width]
        self.in_proj = Linear(
            width, sum(self.sizes), bias=bias if qkv_bias is None else qkv_bias, rng=rng
        )
        self.out_proj = Linear(width, width, bias=bias, rng=rng)
        self.dropout, self.residual_dropout, self.rng = dropout, residual_dropout, rng

    def forward(
        self,
        x: Tensor,
        memory: Tensor | KeysValues | None = None,
        *,
        mask: np.ndarray | None = None,
        is_causal: bool = False,
        rotate: Callable[[Tensor], Tensor] | None = None,
        cache: KeyValueCache | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D). Queries come from x; keys and values from memory (B, S, D), or
        from x itself; or memory is what project_memory made of it.

        mask: bool, True = may attend, broadcast to (B, H, T, S). rotate: applied to q and k, for
        rotary positions. residual (B, T, D): what the result, after dropout, is added to.
        """
        q, k, v = self.project(x, memory)
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        if cache is not None:
            k, v = cache.append(k, v)
        dropping = self.training and self.dropout > 0
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            mask=mask,
            is_causal=is_causal,
            dropout_p=self.dropout if dropping else 0.0,
            seed=F.draw_seed(self.rng) if dropping else 0,
        )
        y = F.join_heads(y)  # (B, H, T, D/H) -> (B, T, D)
        if residual is None:
            return self.out_proj(y)
        return self.out_proj.onto(residual, y, self.residual_dropout, self.rng)

    def project(self, x: Tensor, memory: Tensor | KeysValues | None = None) -> Sequence[Tensor]:
        """Queries (B, H, T, D/H), keys and values (B, G, S, D/H)."""
        if memory is None:
            heads = self.heads, self.kv_heads, self.kv_heads
            return F.split_heads(self.in_proj(x), heads=heads)
        k, v = memory if isinstance(memory, KeysValues) else self.project_memory(memory)
        weight, bias = self._parts()[0]
        return F.split_heads(F.linear(x, weight, bias), heads=(self.heads,))[0], k, v

    def project_memory(self, memory: Tensor) -> KeysValues:
        """The keys and values (B, G, S, D/H) of a memory (B, S, D), for all queries to come."""
        weight, bias = self._parts()[1]
        heads = self.kv_heads, self.kv_heads
        return KeysValues(*F.split_heads(F.linear(memory, weight, bias), heads=heads))

    def _parts(self) -> Sequence[tuple[Tensor, Tensor | None]]:
        """Weight and bias of the queries; those of keys and values, one above the other."""
        sizes, in_proj = [self.sizes[0], sum(self.sizes[1:])], self.in_proj
        in_blocks = isinstance(in_proj.weight, np.ndarray)  # 8 or 4 bits: quantized.py
        weights = np.split(in_proj.weight, sizes[:1]) if in_blocks else in_proj.weight.split(sizes)
        biases = (None, None) if in_proj.bias is None else in_proj.bias.split(sizes)
        return list(zip(weights, biases))

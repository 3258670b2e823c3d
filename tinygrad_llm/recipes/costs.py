"""What a step of each kind of model costs, by formula: parameters, operations, memory.

Kaplan et al. 2020, arXiv 2001.08361, section 2.1, counts 6 operations a parameter and token for a
step; here the attention's own products are counted too.
"""

from __future__ import annotations

import dataclasses
import math
from functools import singledispatch
from typing import TypeVar

from tinygrad_llm.kernels.again import LARGE
from tinygrad_llm.kernels.buffers import LOGITS, WIDE_ROWS
from tinygrad_llm.models.bert import BertConfig
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.training.masking import CHOSEN

Config = TypeVar("Config", GPTConfig, BertConfig)


@singledispatch
def num_parameters(config: Config) -> int:
    """How many numbers training moves: 124,439,808 for GPT-2 small."""
    raise TypeError(f"the cost of a {type(config).__name__} is not known")


@singledispatch
def flops_per_token(config: Config) -> int:
    """Floating-point operations of forward and backward for one token of a full context."""
    raise TypeError(f"the cost of a {type(config).__name__} is not known")


@singledispatch
def peak_floats(config: Config, batch_size: int) -> int:
    """Floats at the peak of a step: four a parameter (weight, gradient, two moments), and what each
    layer saves for its backward, the logits included.
    """
    raise TypeError(f"the cost of a {type(config).__name__} is not known")


@singledispatch
def resized(config: Config, layers: int) -> Config:
    """The same model with another number of layers; with none, one that does the same operations
    on a few numbers.
    """
    raise TypeError(f"the cost of a {type(config).__name__} is not known")


@num_parameters.register
def _(config: GPTConfig) -> int:
    width, bias = config.n_embd, config.bias
    block = 12 * width**2 + 2 * width  # attention 4, MLP 8 squares of the width; the norms' scales
    if bias:
        block += 8 * width + 3 * width * config.qkv_bias  # out 1, MLP 5, norms 2
    ends = (
        config.vocab_size * (1 if config.tie_word_embeddings else 2) + config.n_positions
    ) * width
    return config.n_layer * block + ends + width * (1 + bias)


@flops_per_token.register
def _(config: GPTConfig) -> int:
    products = 12 * config.n_layer * config.n_embd**2 + config.vocab_size * config.n_embd
    attention = (
        config.n_layer * config.n_embd * config.n_positions
    )  # q k^T and W v, half of each masked
    return 6 * (products + attention)


@peak_floats.register
def _(config: GPTConfig, batch_size: int) -> int:
    """Behind the last layer stand the logits of a block of tokens, which become their gradient in
    place.
    """
    tokens, width = batch_size * config.n_positions, config.n_embd
    # inputs of norms 2, their outputs 2 unless large, q k v 3, attention 1, what enters GELU 4
    saved = config.n_layer * (10 if tokens * width >= LARGE else 12) * width
    wide = 8 * width * min(tokens, WIDE_ROWS)  # GELU and its gradient, for a block of tokens
    logits = block_size(tokens, config.vocab_size)
    return 4 * num_parameters(config) + tokens * (saved + 4 * width) + wide + logits


@resized.register
def _(config: GPTConfig, layers: int) -> GPTConfig:
    if layers:
        return dataclasses.replace(config, n_layer=layers)
    return dataclasses.replace(config, n_layer=1, n_embd=config.n_head, vocab_size=2, n_positions=1)


def block_size(tokens: int, vocab_size: int) -> int:
    """How many logits are in memory at a time: blocks of equal size, of at most LOGITS."""
    logits = tokens * vocab_size
    return math.ceil(logits / max(math.ceil(logits / LOGITS), 1))


@num_parameters.register
def _(config: BertConfig) -> int:
    """Of the masked language model: the head's last layer is the embedding and a bias."""
    width, inner, vocab = config.hidden_size, config.intermediate_size, config.vocab_size
    block = 4 * width**2 + 2 * width * inner + inner + 9 * width  # biases 4 + 1, norms 4
    embeddings = (vocab + config.max_position_embeddings + config.type_vocab_size + 2) * width
    head = width**2 + 3 * width + vocab
    return config.num_hidden_layers * block + embeddings + head


@flops_per_token.register
def _(config: BertConfig) -> int:
    """Scores are made at the chosen places alone."""
    width, layers = config.hidden_size, config.num_hidden_layers
    products = layers * (4 * width**2 + 2 * width * config.intermediate_size)
    attention = 2 * layers * width * config.max_position_embeddings  # q k^T and W v
    head = CHOSEN * width * (width + config.vocab_size)
    return 6 * (products + attention + round(head))


@peak_floats.register
def _(config: BertConfig, batch_size: int) -> int:
    """The head keeps states and scores of the chosen places alone."""
    tokens, width = batch_size * config.max_position_embeddings, config.hidden_size
    # inputs of norms 2, their outputs 2 unless large, q k v 3, attention 1, what enters GELU
    layer = (6 if tokens * width >= LARGE else 8) * width + config.intermediate_size
    wide = 2 * config.intermediate_size * min(tokens, WIDE_ROWS)
    scores = round(CHOSEN * tokens) * (2 * config.vocab_size + 6 * width)
    saved = tokens * (config.num_hidden_layers * layer + 4 * width)
    return 4 * num_parameters(config) + saved + wide + scores


@resized.register
def _(config: BertConfig, layers: int) -> BertConfig:
    if layers:
        return dataclasses.replace(config, num_hidden_layers=layers)
    heads = config.num_attention_heads
    tiny = {"hidden_size": heads, "intermediate_size": 1, "max_position_embeddings": 1}
    return dataclasses.replace(config, num_hidden_layers=1, vocab_size=2, **tiny)

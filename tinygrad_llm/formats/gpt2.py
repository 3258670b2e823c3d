"""A GPT as transformers' GPT2LMHeadModel describes it: config.json, tensor names and shapes.

It opens no file. What GPT would compute differently is refused by name, never read as another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.family import Family, Slot, check_implemented, chosen, configured, whole
from tinygrad_llm.models.gpt import GPT, GPTConfig

HEAD = "lm_head.weight"
DROPOUTS, DROPOUT = ("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1  # GPT2Config's default
SIZES = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")
OPTIONS = (
    "bias",
    "qkv_bias",
    "tie_word_embeddings",
    "layer_norm_epsilon",
    "initializer_range",
)

IMPLEMENTED = {  # the values that GPT computes; the first is what a missing key means
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
}

BLOCK = {  # name there: (name here, shape there in units of n_embd)
    "ln_1.weight": ("ln_1.weight", (1,)),
    "ln_1.bias": ("ln_1.bias", (1,)),
    "attn.c_attn.weight": ("attn.in_proj.weight", (1, 3)),
    "attn.c_attn.bias": ("attn.in_proj.bias", (3,)),
    "attn.c_proj.weight": ("attn.out_proj.weight", (1, 1)),
    "attn.c_proj.bias": ("attn.out_proj.bias", (1,)),
    "ln_2.weight": ("ln_2.weight", (1,)),
    "ln_2.bias": ("ln_2.bias", (1,)),
    "mlp.c_fc.weight": ("mlp.c_fc.weight", (1, 4)),
    "mlp.c_fc.bias": ("mlp.c_fc.bias", (4,)),
    "mlp.c_proj.weight": ("mlp.c_proj.weight", (4, 1)),
    "mlp.c_proj.bias": ("mlp.c_proj.bias", (1,)),
}


def slots(config: GPTConfig) -> Iterator[Slot]:
    """Every tensor that a GPT2LMHeadModel of this size has; it always has biases and a head."""
    width, tied = config.n_embd, config.tie_word_embeddings
    yield Slot("wte.weight", "wte.weight", (config.vocab_size, width))
    yield Slot("wpe.weight", "wpe.weight", (config.n_positions, width))
    for i in range(config.n_layer):
        for name, (parameter, units) in BLOCK.items():
            biased = config.bias and (config.qkv_bias or name != "attn.c_attn.bias")
            yield Slot(
                f"h.{i}.{name}",
                f"h.{i}.{parameter}",
                tuple(n * width for n in units),
                transposed=len(units) == 2,
                in_model=biased or not name.endswith(".bias"),
            )
    yield Slot("ln_f.weight", "ln_f.weight", (width,))
    yield Slot("ln_f.bias", "ln_f.bias", (width,), in_model=config.bias)
    tie = "wte.weight" if tied else HEAD
    yield Slot(HEAD, tie, (config.vocab_size, width), in_model=not tied)


def to_config(config: GPTConfig) -> dict[str, Any]:
    """config.json for transformers, with two keys of ours that it ignores: bias and qkv_bias."""
    own = dataclasses.asdict(config)
    dropout = own.pop("dropout")
    return {
        **own,
        **dict.fromkeys(DROPOUTS, dropout),
        "n_inner": None,
        "activation_function": "gelu_new",
        "bos_token_id": None,
        "eos_token_id": None,
    }


def from_config(document: Mapping[str, Any]) -> GPTConfig:
    """The GPT that a config.json describes; InputError with the key where it is another model."""
    check_implemented(document, IMPLEMENTED)
    values = chosen(document, SIZES, OPTIONS)
    config = configured(GPTConfig, values | {"dropout": _dropout(document)})
    if document.get("n_inner") not in (None, 4 * config.n_embd):
        raise InputError(
            f"n_inner is {document['n_inner']!r:.40}; "
            f"only 4 n_embd = {4 * config.n_embd} is implemented"
        )
    if not 0 < config.layer_norm_epsilon < math.inf:
        raise InputError(f"layer_norm_epsilon is {config.layer_norm_epsilon}; it must be above 0")
    return config


def _dropout(document: Mapping[str, Any]) -> Any:
    """The one probability that stands for GPT-2's three."""
    values = [document.get(key, DROPOUT) for key in DROPOUTS]
    if any(value != values[0] for value in values):
        raise InputError(
            f"{', '.join(DROPOUTS)} are {', '.join(map(repr, values)):.80}; "
            "one dropout for all three is implemented: make them equal"
        )
    return values[0]


FAMILY = Family(
    model_type="gpt2",
    architectures={GPT: "GPT2LMHeadModel"},
    from_config=from_config,
    to_config=to_config,
    slots=slots,
    build=whole(GPT),
    embeddings=("vocab_size", "n_positions"),
    prefix="transformer.",
    unprefixed=("lm_head.",),
    ignored=(".attn.bias", ".attn.masked_bias"),  # causal masks that old files hold
)

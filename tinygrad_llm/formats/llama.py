"""A Llama as transformers' LlamaForCausalLM describes it: config.json, tensor names and shapes.

It opens no file. What Llama would compute differently is refused by name, never read as another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.family import Family, Slot, check_implemented, chosen, configured, whole
from tinygrad_llm.models.llama import Llama, LlamaConfig

EMBEDDING, HEAD = "embed_tokens.weight", "lm_head.weight"
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
OPTIONS = (
    "rms_norm_eps",
    "attention_bias",
    "mlp_bias",
    "attention_dropout",
    "initializer_range",
    "tie_word_embeddings",
)
IMPLEMENTED = {  # the values that Llama computes; the first is what a missing key means
    "hidden_act": ("silu",),
    "pretraining_tp": (1, None),
    "partial_rotary_factor": (1, None),
    "sliding_window": (None,),  # by which transformers' cache would forget
    "quantization_config": (None,),
}


def slots(config: LlamaConfig) -> Iterator[Slot]:
    """Every tensor of a LlamaForCausalLM; its q, k and v stand one above the other in ours."""
    width, tied = config.hidden_size, config.tie_word_embeddings
    yield Slot(EMBEDDING, EMBEDDING, (config.vocab_size, width))
    for i in range(config.num_hidden_layers):
        layer = f"layers.{i}"
        yield Slot(*[f"{layer}.input_layernorm.weight"] * 2, (width,))
        yield from _attention(f"{layer}.self_attn", config)
        yield Slot(*[f"{layer}.post_attention_layernorm.weight"] * 2, (width,))
        yield from _mlp(f"{layer}.mlp", config)
    yield Slot("norm.weight", "norm.weight", (width,))
    tie = EMBEDDING if tied else HEAD
    yield Slot(HEAD, tie, (config.vocab_size, width), in_model=not tied)


def _attention(path: str, config: LlamaConfig) -> Iterator[Slot]:
    width, first = config.hidden_size, 0
    shared = width // config.num_attention_heads * config.num_key_value_heads
    for name, rows in (("q_proj", width), ("k_proj", shared), ("v_proj", shared)):
        yield Slot(f"{path}.{name}.weight", f"{path}.in_proj.weight", (rows, width), first=first)
        if config.attention_bias:
            yield Slot(f"{path}.{name}.bias", f"{path}.in_proj.bias", (rows,), first=first)
        first += rows
    yield Slot(f"{path}.o_proj.weight", f"{path}.out_proj.weight", (width, width))
    if config.attention_bias:
        yield Slot(f"{path}.o_proj.bias", f"{path}.out_proj.bias", (width,))


def _mlp(path: str, config: LlamaConfig) -> Iterator[Slot]:
    width, inner = config.hidden_size, config.intermediate_size
    shapes = {"gate_proj": (inner, width), "up_proj": (inner, width), "down_proj": (width, inner)}
    for name, shape in shapes.items():
        yield Slot(*[f"{path}.{name}.weight"] * 2, shape)
        if config.mlp_bias:
            yield Slot(*[f"{path}.{name}.bias"] * 2, shape[:1])


def to_config(config: LlamaConfig) -> dict[str, Any]:
    """config.json for transformers; the base of the angles stands where each version looks."""
    return {
        **dataclasses.asdict(config),
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "head_dim": config.hidden_size // config.num_attention_heads,
        "hidden_act": "silu",
        "bos_token_id": None,
        "eos_token_id": None,
    }


def from_config(document: Mapping[str, Any]) -> LlamaConfig:
    """The Llama that a config.json describes; InputError with the key where it is another model."""
    check_implemented(document, IMPLEMENTED)
    values = chosen(document, SIZES, OPTIONS)
    heads = document.get("num_key_value_heads")
    values["num_key_value_heads"] = values["num_attention_heads"] if heads is None else heads
    config = configured(LlamaConfig, values | {"rope_theta": _rope_theta(document)})
    head_width = config.hidden_size // config.num_attention_heads
    if document.get("head_dim") not in (None, head_width):
        raise InputError(
            f"head_dim is {document['head_dim']!r:.40}; only hidden_size / num_attention_heads = "
            f"{head_width} is implemented"
        )
    return config


def _rope_theta(document: Mapping[str, Any]) -> Any:
    """The base of the angles; InputError where they are scaled for longer contexts.

    Up to version 4 transformers wrote rope_theta and rope_scaling, since then rope_parameters.
    """
    bases = [document["rope_theta"]] if "rope_theta" in document else []
    for key in ("rope_scaling", "rope_parameters"):
        rope = document.get(key)
        if rope is None:
            continue
        if not isinstance(rope, dict) or rope.keys() - {"rope_type", "type", "rope_theta"}:
            raise InputError(f"{key} is {rope!r:.80}; only rope_theta is implemented, unscaled")
        if any(rope.get(name, "default") != "default" for name in ("rope_type", "type")):
            raise InputError(f"{key} is {rope!r:.80}; only the default rope_type is implemented")
        bases += [rope["rope_theta"]] if "rope_theta" in rope else []
    if any(base != bases[0] for base in bases):
        raise InputError(f"rope_theta is {' and '.join(map(repr, bases)):.80}; which one?")
    return bases[0] if bases else LlamaConfig.rope_theta


FAMILY = Family(
    model_type="llama",
    architectures={Llama: "LlamaForCausalLM"},
    from_config=from_config,
    to_config=to_config,
    slots=slots,
    build=whole(Llama),
    embeddings=("vocab_size",),
    prefix="model.",
    unprefixed=("lm_head.",),
    ignored=(".rotary_emb.inv_freq",),  # the angles' frequencies, which old files hold
)

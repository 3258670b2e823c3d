"""A transformer as transformers' MarianMTModel describes it: config.json, tensor names and shapes;
with norms before the branches, as its PegasusForConditionalGeneration does.

It opens no file. What EncoderDecoder would compute differently is refused by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.family import (
    Family,
    Slot,
    check_implemented,
    chosen,
    configured,
    linear,
    norm,
    whole,
)
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

EMBEDDING = "shared.weight"
SPECIAL = ("pad_token_id", "eos_token_id", "decoder_start_token_id")
SIZES = (
    "vocab_size",
    "d_model",
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "max_position_embeddings",
    "activation_function",
    "scale_embedding",
    *SPECIAL,
)
OPTIONS = ("dropout", "attention_dropout")
IMPLEMENTED = {  # the values that EncoderDecoder computes; the first is what a missing key means
    "activation_dropout": (0.0,),
    "encoder_layerdrop": (0.0,),
    "decoder_layerdrop": (0.0,),
    "static_position_embeddings": (True,),
    "normalize_embedding": (False,),
    "share_encoder_decoder_embeddings": (True,),
    "tie_word_embeddings": (True,),
    "quantization_config": (None,),
}
NORMS = ("normalize_before", "add_final_layer_norm")  # true for Pegasus, false for Marian


def slots(config: EncoderDecoderConfig) -> Iterator[Slot]:
    """Every tensor that a MarianMTModel of this size has, but for the waves of the positions."""
    size, width = config.vocab_size, config.d_model
    yield Slot(EMBEDDING, EMBEDDING, (size, width))
    for tied in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        yield Slot(tied, EMBEDDING, (size, width), in_model=False)
    for i in range(config.encoder_layers):
        there, here = f"encoder.layers.{i}", f"encoder.{i}"
        yield from _attention(there, here, "self_attn", width)
        yield from _feed_forward(there, here, width, config.encoder_ffn_dim)
    if config.pre_norm:
        yield from norm("encoder.layer_norm", "encoder_norm", width)
        yield from norm("decoder.layer_norm", "decoder_norm", width)
    for i in range(config.decoder_layers):
        there, here = f"decoder.layers.{i}", f"decoder.{i}"
        yield from _attention(there, here, "self_attn", width)
        yield from _attention(there, here, "encoder_attn", width)
        yield from _feed_forward(there, here, width, config.decoder_ffn_dim)
    yield Slot("final_logits_bias", "final_logits_bias", (1, size), in_model=False)


def _attention(there: str, here: str, name: str, width: int) -> Iterator[Slot]:
    there, here = f"{there}.{name}", f"{here}.{name}"
    for i, part in enumerate(("q_proj", "k_proj", "v_proj")):
        yield from linear(f"{there}.{part}", f"{here}.in_proj", width, width, first=i * width)
    yield from linear(f"{there}.out_proj", f"{here}.out_proj", width, width)
    yield from norm(f"{there}_layer_norm", f"{here}_layer_norm", width)


def _feed_forward(there: str, here: str, width: int, inner: int) -> Iterator[Slot]:
    yield from linear(f"{there}.fc1", f"{here}.feed_forward.fc1", width, inner)
    yield from linear(f"{there}.fc2", f"{here}.feed_forward.fc2", inner, width)
    yield from norm(f"{there}.final_layer_norm", f"{here}.final_layer_norm", width)


def to_config(config: EncoderDecoderConfig) -> dict[str, Any]:
    """config.json for transformers."""
    own = dataclasses.asdict(config)
    pre_norm = own.pop("pre_norm")
    family = PEGASUS if pre_norm else FAMILY
    return {  # the first two replace those of FAMILY, for both kinds are one class here
        "architectures": list(family.architectures.values()),
        "model_type": family.model_type,
        **own,
        **dict.fromkeys(NORMS, pre_norm),
        "num_hidden_layers": config.encoder_layers,
        "decoder_vocab_size": config.vocab_size,
        "static_position_embeddings": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "bos_token_id": None,
        "forced_eos_token_id": config.eos_token_id,
    }


def from_config(document: Mapping[str, Any]) -> EncoderDecoderConfig:
    """The transformer of a config.json; InputError with the key where it is another model."""
    pre_norm = document.get("model_type") == PEGASUS.model_type
    norms = dict.fromkeys(NORMS, (pre_norm,))
    sizes = {"decoder_vocab_size": (document.get("vocab_size"), None)}
    check_implemented(document, IMPLEMENTED | norms | sizes)
    values = chosen(document, SIZES, OPTIONS) | {"pre_norm": pre_norm}
    config = configured(EncoderDecoderConfig, values)
    for key in SPECIAL:
        if getattr(config, key) >= config.vocab_size:
            raise InputError(
                f"{key} is {getattr(config, key)}, but the vocabulary has {config.vocab_size}"
            )
    return config


FAMILY = Family(
    model_type="marian",
    architectures={EncoderDecoder: "MarianMTModel"},
    from_config=from_config,
    to_config=to_config,
    slots=slots,
    build=whole(EncoderDecoder),
    embeddings=("vocab_size",),
    prefix="model.",
    unprefixed=("lm_head.", "final_logits_bias"),
    ignored=(".embed_positions.weight",),  # the waves, which every model has alike
)
PEGASUS = dataclasses.replace(
    FAMILY,
    model_type="pegasus",
    architectures={EncoderDecoder: "PegasusForConditionalGeneration"},
)

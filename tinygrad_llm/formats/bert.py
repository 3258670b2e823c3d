"""A BERT as transformers' BertModel and BertForMaskedLM describe it: config.json, names, shapes.

It opens no file. A file of BertForPreTraining is read without its head for the next sentence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_llm.formats.family import (
    Family,
    Slot,
    check_implemented,
    chosen,
    configured,
    linear,
    norm,
)
from tinygrad_llm.models.bert import Bert, BertConfig, BertForMaskedLM

EMBEDDING = "embeddings.word_embeddings.weight"
POOLER, HEAD = "pooler", "head"
SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
OPTIONS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layer_norm_eps",
    "initializer_range",
)
IMPLEMENTED = {  # the values that Bert computes; the first is what a missing key means
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "tie_word_embeddings": (True,),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
}


def slots(config: BertConfig) -> Iterator[Slot]:
    """Every tensor of a BertForPreTraining but those of its head for the next sentence."""
    width = config.hidden_size
    sizes = {
        "word_embeddings": config.vocab_size,
        "position_embeddings": config.max_position_embeddings,
        "token_type_embeddings": config.type_vocab_size,
    }
    for name, size in sizes.items():
        yield Slot(*[f"embeddings.{name}.weight"] * 2, (size, width))
    yield from norm("embeddings.LayerNorm", "embeddings.norm", width)
    for i in range(config.num_hidden_layers):
        yield from _layer(f"encoder.layer.{i}", f"layers.{i}", config)
    yield from linear("pooler.dense", "pooler", width, width, part=POOLER)
    yield from _head(config)


def _layer(there: str, here: str, config: BertConfig) -> Iterator[Slot]:
    width, inner = config.hidden_size, config.intermediate_size
    for i, name in enumerate(("query", "key", "value")):
        projection = f"{there}.attention.self.{name}"
        yield from linear(projection, f"{here}.attention.in_proj", width, width, first=i * width)
    yield from linear(
        f"{there}.attention.output.dense", f"{here}.attention.out_proj", width, width
    )
    yield from norm(f"{there}.attention.output.LayerNorm", f"{here}.attention_norm", width)
    yield from linear(f"{there}.intermediate.dense", f"{here}.intermediate", width, inner)
    yield from linear(f"{there}.output.dense", f"{here}.output", inner, width)
    yield from norm(f"{there}.output.LayerNorm", f"{here}.output_norm", width)


def _head(config: BertConfig) -> Iterator[Slot]:
    """The masked-language-model head, whose last layer is the embedding and a bias of its own."""
    width, size = config.hidden_size, config.vocab_size
    there = "cls.predictions"
    yield from linear(f"{there}.transform.dense", "head.dense", width, width, part=HEAD)
    yield from norm(f"{there}.transform.LayerNorm", "head.norm", width, part=HEAD)
    bias = "head.decoder.bias"
    yield Slot(f"{there}.bias", bias, (size,), part=HEAD)
    yield Slot(f"{there}.decoder.bias", bias, (size,), in_model=False, part=HEAD)
    yield Slot(f"{there}.decoder.weight", EMBEDDING, (size, width), in_model=False, part=HEAD)


def to_config(config: BertConfig) -> dict[str, Any]:
    """config.json for transformers."""
    return {
        **dataclasses.asdict(config),
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "is_decoder": False,
    }


def from_config(document: Mapping[str, Any]) -> BertConfig:
    """The BERT that a config.json describes; InputError with the key where it is another model."""
    check_implemented(document, IMPLEMENTED)
    return configured(BertConfig, chosen(document, SIZES, OPTIONS))


def build(config: BertConfig, parts: Collection[str], rng: np.random.Generator) -> Bert:
    """A fresh model with the parts that a file holds."""
    kind = BertForMaskedLM if HEAD in parts else Bert
    return kind(config, pooler=POOLER in parts, rng=rng)


FAMILY = Family(
    model_type="bert",
    architectures={Bert: "BertModel", BertForMaskedLM: "BertForMaskedLM"},
    from_config=from_config,
    to_config=to_config,
    slots=slots,
    build=build,
    embeddings=("vocab_size", "max_position_embeddings", "type_vocab_size"),
    prefix="bert.",
    unprefixed=("cls.",),
    ignored=(
        "embeddings.position_ids",  # 0, 1, 2, ...
        "cls.seq_relationship.weight",
        "cls.seq_relationship.bias",
    ),
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)

"""The tokenizer in a GGUF file's metadata: byte-level BPE, which llama.cpp calls gpt2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.byte_alphabet import unspell
from tinygrad_llm.text.contents import Contents, merge_ids

PATTERNS = {"gpt-2": "gpt2", "smollm": "smollm"}  # ours by llama.cpp's names
NORMAL, CONTROL = 1, 3  # types of tokens


def tokenizer_contents(metadata: Mapping[str, Any]) -> Contents:
    """What a tokenizer is built from; InputError where the file asks for another kind of it."""
    model = metadata.get("tokenizer.ggml.model")
    if model != "gpt2":
        raise InputError(f"tokenizer.ggml.model is {model!r:.40}; read is 'gpt2'")
    name = metadata.get("tokenizer.ggml.pre")
    if not isinstance(name, str) or name not in PATTERNS:
        raise InputError(f"tokenizer.ggml.pre is {name!r:.40}; read are {', '.join(PATTERNS)}")
    if metadata.get("tokenizer.ggml.add_bos_token", False) is not False:
        raise InputError("tokenizer.ggml.add_bos_token is true, which is not implemented")
    ordinary, special = _tokens(metadata)
    merges = [merge_ids(merge.split(" "), ordinary) for merge in _texts(metadata, "merges")]
    vocabulary = {unspell(spelling): index for spelling, index in ordinary.items()}
    return Contents("bpe", vocabulary, special, merges, PATTERNS[name])


def eos_id(metadata: Mapping[str, Any]) -> int | None:
    """The id that ends a text, if the file names one."""
    index = metadata.get("tokenizer.ggml.eos_token_id")
    return index if type(index) is int else None


def _tokens(metadata: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """The ids of the ordinary tokens and of the special ones, by spelling."""
    spellings, kinds = _texts(metadata, "tokens"), metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, np.ndarray) or len(kinds) != len(spellings):
        raise InputError(f"tokenizer.ggml.token_type does not give {len(spellings)} types")
    tokens: dict[int, dict[str, int]] = {NORMAL: {}, CONTROL: {}}
    for index, (spelling, kind) in enumerate(zip(spellings, kinds.tolist(), strict=True)):
        if kind not in tokens:
            raise InputError(f"the token {spelling!r:.60} has the type {kind}; read are 1 and 3")
        if spelling in tokens[kind]:
            raise InputError(f"the token {spelling!r:.60} stands there twice")
        tokens[kind][spelling] = index
    return tokens[NORMAL], tokens[CONTROL]


def _texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    texts = metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(texts, list):
        raise InputError(f"tokenizer.ggml.{name} is not a list of texts")
    return texts

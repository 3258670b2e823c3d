"""Weights of 8 or 4 bits in a model: layers whose weight is an array of blocks (blocks.py) instead
of a Tensor.

Such a weight is frozen and no parameter; what is computed with it carries gradients as ever, so
adapters train beside it. Dettmers et al. 2023, arXiv 2305.14314, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad_llm.blocks import is_blocks, quantized, shape_of
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.layers import Embedding, Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


def quantize(model: Module, kind: str, *, embeddings: str = "Q8_0") -> Module:
    """Replace the weights of linear layers by blocks of a kind (Q8_0, Q4_0, Q4_1), and the table
    of tokens, with the output layer where that is tied to it, by blocks of another; returns model.

    Tables of positions and segments, and the norms, stay floats. InputError where 32 does not
    divide a row, or a number does not fit, before anything is changed.
    """
    new: dict[str, np.ndarray] = {}
    for path, weight in _matrices(model):
        kept = embeddings if path.startswith(_TOKENS) else kind
        try:
            new[path] = quantized(weight.data, kept)
        except ValueError as error:
            raise InputError(f"{path}: {error}; so it cannot be stored as {kept}") from None
    for path, blocks in new.items():
        put_blocks(model, path, blocks)
    return model


_TOKENS = ("wte.", "embed_tokens.", "shared.", "embeddings.word_embeddings.")
_FLOATS = ("wpe", "embeddings.position_embeddings", "embeddings.token_type_embeddings")


def _matrices(model: Module) -> Iterator[tuple[str, Tensor]]:
    """(path, weight) of the layers to quantize; one that two layers share comes once."""
    layers = {path: m for path, m in model.named_modules() if isinstance(m, (Linear, Embedding))}
    for name, parameter in model.named_parameters():
        path, _, attribute = name.rpartition(".")
        if path in layers and attribute == "weight" and path not in _FLOATS:
            yield name, parameter


def put_blocks(model: Module, name: str, blocks: np.ndarray) -> None:
    """Let blocks be the weight of this name, and of every layer that shares it."""
    path, _, attribute = name.rpartition(".")
    modules = dict(model.named_modules())
    weight = getattr(modules[path], attribute)
    for module in modules.values():
        if getattr(module, attribute, None) is weight:
            setattr(module, attribute, blocks)


def named_blocks(model: Module) -> Iterator[tuple[str, np.ndarray]]:
    """(path, blocks) of every weight in blocks; one that two layers share comes once."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, np.ndarray) and is_blocks(weight) and id(weight) not in seen:
            seen.add(id(weight))
            yield f"{path}.weight", weight


def num_weights(model: Module) -> int:
    """How many numbers the parameters and the blocks stand for."""
    held = sum(int(np.prod(shape_of(blocks))) for _, blocks in named_blocks(model))
    return model.num_parameters() + held


def memory_of(model: Module) -> int:
    """Bytes of the parameters and the blocks."""
    held = sum(blocks.nbytes for _, blocks in named_blocks(model))
    return held + sum(parameter.data.nbytes for parameter in model.parameters())

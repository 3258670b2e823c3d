"""Weights in blocks of 8 or 4 bits in a folder: tensors of bytes, a row for each of the layer's.

config.json says so in quantization_config, with the kind of block (blocks.py); transformers, which
does not know these, refuses the folder by that key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.blocks import BLOCK, BLOCKS, is_blocks
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.family import Shape

KEY, METHOD = "quantization_config", "tinygrad_llm_blocks"
_NAMES = {dtype: name for name, dtype in BLOCKS.items()}


def as_bytes(tensors: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors with blocks (N, K / 32) as bytes (N, ...), and what config.json says of them:
    nothing if there are none.
    """
    kinds = {name: _NAMES[x.dtype] for name, x in tensors.items() if is_blocks(x)}
    if not kinds:
        return dict(tensors), {}
    most = Counter(kinds.values()).most_common(1)[0][0]
    others = {name: kind for name, kind in kinds.items() if kind != most}
    plain = {
        name: np.ascontiguousarray(x).view(np.uint8) if is_blocks(x) else x
        for name, x in tensors.items()
    }
    scheme = {"quant_method": METHOD, "block_size": BLOCK, "kind": most, "other_kinds": others}
    return plain, {KEY: scheme}


def without_scheme(document: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """config.json without quantization_config if that is ours, and its value, checked."""
    scheme = document.get(KEY)
    if not isinstance(scheme, dict) or scheme.get("quant_method") != METHOD:
        return document, None
    others = scheme.get("other_kinds", {})
    if scheme.get("block_size") != BLOCK or not isinstance(others, dict):
        raise InputError(f"{KEY} is {scheme!r:.80}; blocks of {BLOCK} are read")
    for kind in (scheme.get("kind"), *others.values()):
        if not isinstance(kind, str) or kind not in BLOCKS:
            raise InputError(f"{KEY} names blocks of {kind!r:.40}; read are {', '.join(BLOCKS)}")
    scheme = {"kind": scheme["kind"], "other_kinds": others}
    return {key: value for key, value in document.items() if key != KEY}, scheme


class _Entry(NamedTuple):
    shape: Shape


class BlockWeights:
    """Open weights whose tensors of bytes are blocks: entries have the shapes of the numbers."""

    def __init__(self, weights: Any, scheme: Mapping[str, Any]):
        self._weights, self.path = weights, weights.path
        self._kinds = {
            name: BLOCKS[scheme["other_kinds"].get(name, scheme["kind"])]
            for name, entry in weights.entries.items()
            if entry.dtype == "U8"
        }
        self.in_blocks = frozenset(self._kinds)
        self.entries = {name: self._entry(name) for name in weights.entries}

    def _entry(self, name: str) -> _Entry:
        shape = self._weights.entries[name].shape
        if name not in self._kinds:
            return _Entry(shape)
        size = self._kinds[name].itemsize
        if len(shape) != 2 or shape[1] % size or not shape[1]:
            raise InputError(f"{name!r:.80} has {shape} bytes, no rows of blocks of {size}")
        return _Entry((shape[0], shape[1] // size * BLOCK))

    def read(self, name: str) -> np.ndarray:
        """One array, of numbers or of blocks."""
        array = self._weights.read(name)
        return array.view(self._kinds[name]) if name in self._kinds else array

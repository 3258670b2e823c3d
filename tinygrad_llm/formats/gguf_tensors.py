"""How GGUF stores numbers: plain ones, and blocks of 32 small integers that share a scale.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and ggml-quants.c for the blocks. It
opens no file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinygrad_llm.blocks import BLOCK, BLOCKS, widened
from tinygrad_llm.errors import InputError
from tinygrad_llm.tensor_files import bfloat16_as_float32

NAMES = {  # ggml's types by number, so that one that is not read can be named
    **dict(
        enumerate("F32 F16 Q4_0 Q4_1 Q4_2 Q4_3 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K".split())
    ),
    **dict(enumerate("Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S".split(), 14)),
    **dict(enumerate("IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16".split(), 22)),
    **{34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0"},
}


class Kind(NamedTuple):
    """size: numbers in one element of dtype. widen: elements (...) -> float32 (..., size)."""

    size: int
    dtype: np.dtype
    widen: Callable[[np.ndarray], np.ndarray]


class Stored(NamedTuple):
    """A tensor as the file holds it. blocks (..., K / size): its rows of K numbers, in elements of
    its kind; the rows can be taken apart and moved like those of any array.
    """

    kind: str
    blocks: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the numbers, (..., K)."""
        return (*self.blocks.shape[:-1], self.blocks.shape[-1] * KINDS[self.kind].size)

    def dequantize(self) -> np.ndarray:
        """The numbers as float32 (..., K)."""
        with np.errstate(invalid="ignore", over="ignore"):  # a damaged scale may be infinite
            return KINDS[self.kind].widen(self.blocks).reshape(self.shape)


def kind_of(number: int) -> str:
    """The name of a type of ggml; InputError where it is none that is read."""
    name = NAMES.get(number, f"number {number}")
    if name not in KINDS:
        raise InputError(f"has the type {name}; read are {', '.join(KINDS)}")
    return name


def _plain(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.float32)


KINDS = {
    "F32": Kind(1, np.dtype("<f4"), _plain),
    "F16": Kind(1, np.dtype("<f2"), _plain),
    "BF16": Kind(1, np.dtype("<u2"), bfloat16_as_float32),
    **{name: Kind(BLOCK, dtype, widened) for name, dtype in BLOCKS.items()},
}

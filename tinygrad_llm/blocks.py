"""Weights in 8 or 4 bits: rows of blocks, each 32 small integers that share a scale, as GGUF has
them.

ggml-quants.c of https://github.com/ggml-org/ggml. A weight (N, K) in blocks is an array of one of
the dtypes here, (N, K / 32); operations take it where they take a weight of floats that is frozen.
"""

from __future__ import annotations

import numpy as np

BLOCK = 32  # numbers in a block
Q8_0 = np.dtype([("d", "<f2"), ("q", "i1", BLOCK)])  # x = d q, q from -128 to 127
Q4_0 = np.dtype([("d", "<f2"), ("q", "u1", BLOCK // 2)])  # x = d (q - 8), q from 0 to 15
Q4_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", BLOCK // 2)])  # x = d q + m
BLOCKS = {"Q8_0": Q8_0, "Q4_0": Q4_0, "Q4_1": Q4_1}
_LARGEST = 65504.0  # of float16, in which d and m are kept


def is_blocks(weight) -> bool:
    """Whether an array holds blocks, not numbers."""
    return weight.dtype.names is not None


def shape_of(weight) -> tuple[int, ...]:
    """The shape (..., K) of the numbers that a weight stands for."""
    if not is_blocks(weight):
        return weight.shape
    return (*weight.shape[:-1], weight.shape[-1] * BLOCK)


def widened(weight):
    """The numbers (..., K) of blocks (..., K / 32) as float32; of anything else, itself."""
    if not is_blocks(weight):
        return weight
    d = weight["d"].astype(np.float32)[..., None]
    if weight.dtype == Q8_0:
        x = d * weight["q"].astype(np.float32)
    elif weight.dtype == Q4_0:
        x = d * (_nibbles(weight["q"]) - 8)
    else:
        x = d * _nibbles(weight["q"]) + weight["m"].astype(np.float32)[..., None]
    return x.reshape(shape_of(weight))


def quantized(x: np.ndarray, kind: str) -> np.ndarray:
    """Numbers (..., K) as the nearest blocks (..., K / 32) of a kind of BLOCKS.

    Q8_0: d = max |x| / 127. Q4_0: the number farthest from 0 becomes -8 d. Q4_1: m = min x, d =
    (max x - min x) / 15. ValueError where 32 does not divide K, or a number is not finite or too
    large for the float16 of d and m.
    """
    dtype, rows = BLOCKS[kind], x.shape[-1] // BLOCK
    if x.shape[-1] % BLOCK:
        raise ValueError(f"rows of {x.shape[-1]} numbers are no whole blocks of {BLOCK}")
    if not np.abs(x).max(initial=0) < _LARGEST:  # nor NaN
        raise ValueError(f"numbers that are not finite, or above {_LARGEST:,.0f}")
    x = x.astype(np.float32).reshape(*x.shape[:-1], rows, BLOCK)
    blocks = np.zeros(x.shape[:-1], dtype)
    low, high = x.min(axis=-1), x.max(axis=-1)
    if dtype == Q8_0:
        blocks["d"] = np.maximum(-low, high) / 127
        blocks["q"] = _rounded(x, blocks["d"], -127, 127)
    elif dtype == Q4_0:
        blocks["d"] = np.where(-low > high, low, high) / -8
        blocks["q"] = _packed(_rounded(x, blocks["d"], -8, 7) + 8)
    else:
        blocks["d"], blocks["m"] = (high - low) / 15, low
        shift = blocks["m"].astype(np.float32)[..., None]
        blocks["q"] = _packed(_rounded(x - shift, blocks["d"], 0, 15))
    return blocks


def _rounded(x, d, low, high):
    """x / d as the nearest integers from low to high; 0 where d is 0."""
    d = d.astype(np.float32)[..., None]
    inverse = np.divide(1, d, out=np.zeros_like(d), where=d != 0)
    return np.clip(np.rint(x * inverse), low, high)


def _packed(q):
    """Byte i of a block holds its number i below and its number i + 16 above."""
    low, high = np.split(q.astype(np.uint8), 2, axis=-1)
    return low | high << 4


def _nibbles(q):
    return np.concatenate([q & 15, q >> 4], axis=-1).astype(np.float32)

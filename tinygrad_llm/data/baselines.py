"""What a simple model makes of a text: gzip, and n-grams with interpolated Witten-Bell smoothing.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", section 2.6.
"""

from __future__ import annotations

import gzip
import math

import numpy as np


def gzip_bits_per_byte(text: bytes) -> float:
    """The size of the text under gzip's strongest setting, in bits per byte of text."""
    return 8 * len(gzip.compress(text, 9)) / len(text)


def ngram_bits_per_byte(train: np.ndarray, held_out: np.ndarray, size: int, *, order: int, vocab_size: int) -> float:
    """-log2 p(held_out) / size under an n-gram model counted on `train`; size: the bytes of the held-out text.

    Every id after the first is predicted, by the longest context there is for it.
    """
    p = np.full(len(held_out) - 1, 1 / vocab_size)
    for n in range(1, order + 1):
        p[max(n - 2, 0):] = _interpolate(train, held_out, n, vocab_size, p[max(n - 2, 0):])
    return float(-np.log2(p).sum() / size)


def _interpolate(train: np.ndarray, held_out: np.ndarray, n: int, base: int, lower: np.ndarray) -> np.ndarray:
    """p(w | h) = (count(h w) + kinds(h) lower(w)) / (count(h) + kinds(h)), kinds: how many ids ever follow h."""
    grams, counts = np.unique(_codes(train, n, base), return_counts=True)
    histories, first = np.unique(grams // base, return_index=True)
    kinds = np.diff(np.append(first, len(grams)))
    totals = np.add.reduceat(counts, first)
    wanted = _codes(held_out if n > 1 else held_out[1:], n, base)
    count = _look_up(grams, counts, wanted)
    total, kind = (_look_up(histories, values, wanted // base) for values in (totals, kinds))
    return np.where(total > 0, (count + kind * lower) / np.maximum(total + kind, 1), lower)


def _codes(ids: np.ndarray, n: int, base: int) -> np.ndarray:
    """Each run of n ids as one integer."""
    if base**n >= 1 << 63:
        raise ValueError(f"{n}-grams over {base} ids do not fit 63 bits; at most {math.floor(2**(63 / n))} ids")
    codes = np.zeros(len(ids) - n + 1, np.int64)
    for i in range(n):
        codes = codes * base + ids[i:len(ids) - n + 1 + i]
    return codes


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], 0)

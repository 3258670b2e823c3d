"""What simpler models make of a text: gzip, and n-grams with modified Kneser-Ney smoothing.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling".
"""

from __future__ import annotations

import gzip

import numpy as np

from tinygrad_llm.errors import InputError

FALLBACK = (0.5, 1.0, 1.5)  # KenLM's discounts for counts that allow no estimate


def gzip_bits_per_byte(text: bytes) -> float:
    """8 * the length of `text` under gzip -9 / its length."""
    if not text:
        raise InputError("gzip was given no text; hold out a larger part")
    return 8 * len(gzip.compress(text, 9, mtime=0)) / len(text)


def ngram_bits_per_byte(
    train_ids: np.ndarray,
    valid_ids: np.ndarray,
    n_bytes: int,
    *,
    order: int = 3,
    vocab_size: int | None = None,
) -> float:
    """-sum_i log2 p(w_i | the `order` - 1 ids before it) / `n_bytes`, p counted on `train_ids`.

    n_bytes: the bytes of text that `valid_ids` stand for. The rest is as in `ngram_probabilities`.
    """
    probabilities = ngram_probabilities(train_ids, valid_ids, order=order, vocab_size=vocab_size)
    return float(-np.log2(probabilities).sum() / n_bytes)


def ngram_probabilities(
    train_ids: np.ndarray, ids: np.ndarray, *, order: int, vocab_size: int | None = None
) -> np.ndarray:
    """p(w | h) of each of `ids` (n,), h being the up to `order` - 1 ids before it; (n,) float64.

        p(w | h) = (c(h w) - D(c(h w)) + sum_v D(c(h v)) p(w | h')) / sum_v c(h v)

    h' is h without its first id; the p that the empty h falls back on is 1 / V. For a context never
    seen, p(w | h) = p(w | h'). c counts n-grams in `train_ids` at the highest order; below it, how
    many different ids stand before the n-gram there. vocab_size: V, by default the largest id + 1.
    InputError for too few ids, ids outside the vocabulary, and V^order of 2^63 or more.
    """
    train_ids, ids = np.asarray(train_ids, np.int64), np.asarray(ids, np.int64)
    base = _vocabulary(train_ids, ids, order, vocab_size)
    p = np.full(len(ids), 1 / base)
    for n in range(1, min(order, len(ids)) + 1):
        grams, counts = _count(train_ids, n, base, highest=n == order)
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        contexts, first = np.unique(grams // base, return_index=True)
        asked = _codes(ids, n, base)
        kept = _look_up(grams, counts - discounts, asked)
        passed_on = _look_up(contexts, np.add.reduceat(discounts, first), asked // base)
        total = _look_up(contexts, np.add.reduceat(counts, first), asked // base)
        lower = p[n - 1 :]
        p[n - 1 :] = np.where(total > 0, (kept + passed_on * lower) / np.maximum(total, 1), lower)
    return p


def _vocabulary(train_ids: np.ndarray, ids: np.ndarray, order: int, vocab_size: int | None) -> int:
    if order < 1 or min(len(train_ids) - order, len(ids)) < 1:
        raise InputError(
            f"n-grams of order {order} need an order of 1 or more, more ids than that "
            f"to count ({len(train_ids)}) and 1 or more to score ({len(ids)})"
        )
    largest = int(max(train_ids.max(), ids.max()))
    base = largest + 1 if vocab_size is None else vocab_size
    if largest >= base or min(train_ids.min(), ids.min()) < 0 or base**order >= 1 << 63:
        raise InputError(
            f"{order}-grams of ids up to {largest} over a vocabulary of {base} cannot "
            "be counted: ids go from 0 to the vocabulary's size - 1, and its power "
            "to the order stays below 2^63; use a lower order"
        )
    return base


def _codes(ids: np.ndarray, n: int, base: int) -> np.ndarray:
    """The n-gram at each position as one number whose digits to the base V are its ids."""
    codes = np.zeros(len(ids) - n + 1, np.int64)
    for i in range(n):
        codes = codes * base + ids[i : i + len(codes)]
    return codes


def _count(ids: np.ndarray, n: int, base: int, *, highest: bool) -> tuple[np.ndarray, np.ndarray]:
    """(codes of the n-grams, sorted; c of each)."""
    if highest:
        return np.unique(_codes(ids, n, base), return_counts=True)
    longer = np.unique(_codes(ids, n + 1, base))
    return np.unique(longer % base**n, return_counts=True)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D(0) = 0, D(1), D(2) and D(3 or more).

    D(j) = j - (j + 1) Y n_{j+1} / n_j with Y = n_1 / (n_1 + 2 n_2); n_j n-grams have the count j.
    """
    n = [int((counts == j).sum()) for j in range(5)]
    if all(n[1:]):
        y = n[1] / (n[1] + 2 * n[2])
        discounts = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
        if all(0 < discount <= j for j, discount in enumerate(discounts, 1)):
            return np.array([0, *discounts])
    return np.array([0, *FALLBACK])


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each of `wanted` among the sorted `keys`, 0 where it is missing."""
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[found] == wanted, values[found], 0)

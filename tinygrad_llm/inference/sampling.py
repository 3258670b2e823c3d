"""From scores to a token: functions of logits (B, V), here in the order in which they apply.

They agree with transformers' logits processors. A token that is ruled out gets minus infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.ops import normalize

RANGES: dict[str, tuple[type, str, Callable[[Any], bool]]] = {
    "repetition_penalty": (float, "above 0", lambda x: 0 < x < math.inf),
    "temperature": (float, "at least 0", lambda x: 0 <= x < math.inf),
    "top_k": (int, "at least 0", lambda x: x >= 0),
    "top_p": (float, "above 0 and at most 1", lambda x: 0 < x <= 1),
}


def check_range(name: str, value: Any, ranges: dict = RANGES) -> None:
    """InputError with the range for a setting outside of it."""
    kind, range_, inside = ranges[name]
    allowed = (int, np.integer) if kind is int else (int, float, np.number)
    if isinstance(value, bool) or not isinstance(value, allowed) or not inside(value):
        number = "a whole number" if kind is int else "a number"
        raise InputError(f"{name} is {value!r:.80}; it must be {number} {range_}")


def repetition_penalty(logits: np.ndarray, ids: np.ndarray, penalty: float) -> np.ndarray:
    """Logits of tokens among ids (B, T) divided by the penalty, or where negative multiplied by it.

    Keskar et al. 2019, "CTRL", section 4.1; above 1 it makes what stands already less likely.
    """
    check_range("repetition_penalty", penalty)
    seen = np.zeros(logits.shape, bool)
    np.put_along_axis(seen, ids, True, axis=-1)
    return np.where(seen, np.where(logits < 0, logits * penalty, logits / penalty), logits)


def temperature(logits: np.ndarray, value: float) -> np.ndarray:
    """(logits - their maximum) / value, float64. 1 changes nothing; 0 keeps the best alone."""
    check_range("temperature", value)
    below = logits - np.max(logits, axis=-1, keepdims=True)
    if value == 0:
        best = np.arange(logits.shape[-1]) == np.argmax(logits, axis=-1)[..., None]
        return np.where(best, 0.0, -math.inf)
    with np.errstate(over="ignore"):  # a very small temperature rules out all but the best
        return np.divide(below, value, dtype=np.float64)


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The k largest logits and all equal to the k-th; 0 keeps all. Fan et al. 2018, section 5.4."""
    check_range("top_k", k)
    if k == 0 or k >= logits.shape[-1]:
        return logits
    kth = np.partition(logits, -k, axis=-1)[..., -k, None]
    return np.where(logits < kth, -math.inf, logits)


def top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """The fewest tokens whose probabilities sum to p or more. Holtzman et al. 2020, section 3.1."""
    check_range("top_p", p)
    if p == 1:
        return logits
    order = np.argsort(logits, axis=-1, kind="stable")  # least likely first
    below = np.cumsum(probabilities(np.take_along_axis(logits, order, axis=-1)), axis=-1)
    out = below <= 1 - p
    out[..., -1] = False
    removed = np.empty_like(out)
    np.put_along_axis(removed, order, out, axis=-1)
    return np.where(removed, -math.inf, logits)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax, (B, V) float64: in float32 50,000 probabilities do not add up to 1."""
    return normalize.softmax(logits.astype(np.float64))[0]


def draw(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One token (B,) a row, each with its probability; takes one number from rng for each row."""
    return np.array([rng.choice(len(row), p=row) for row in probabilities(logits)])

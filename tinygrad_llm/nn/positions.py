"""Positions as angles: the tables by which rotary attention turns queries and keys."""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(maxsize=2)  # training asks for the same again in every step
def rotation(start: int, end: int, width: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin, both (T, width / 2), of the angles by which x (..., T, width) is turned, whose
    places are start to end - 1, T of them.

    Pair i of place m is turned by the angle m / base^(2 i / width). Su et al. 2021, section 3.2.2.
    """
    frequencies = base ** (-np.arange(0, width, 2) / width)
    angles = np.outer(np.arange(start, end), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

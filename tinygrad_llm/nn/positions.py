"""Positions as angles: waves that are added to embeddings, and the tables by which rotary
attention turns queries and keys.
"""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(maxsize=4)
def sinusoids(count: int, width: int) -> np.ndarray:
    """One row of waves for each of `count` places, (T, width): sin m / 10000^(2 i / width) for all
    i, then their cosines. Vaswani et al. 2017, section 3.5, who lay the two alternately; in this
    order, Marian's, a fresh model is the same up to names of its dimensions.
    """
    angles = np.outer(np.arange(count), 10000.0 ** (-2 * np.arange((width + 1) // 2) / width))
    waves = np.concatenate([np.sin(angles), np.cos(angles[:, : width // 2])], axis=1)
    waves = waves.astype(np.float32)
    waves.flags.writeable = False  # every caller gets the same
    return waves


@functools.lru_cache(maxsize=2)  # training asks for the same again in every step
def rotation(start: int, end: int, width: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin, both (T, width / 2), of the angles by which x (..., T, width) is turned, whose
    places are start to end - 1, T of them.

    Pair i of place m is turned by the angle m / base^(2 i / width). Su et al. 2021, section 3.2.2.
    """
    frequencies = base ** (-np.arange(0, width, 2) / width)
    angles = np.outer(np.arange(start, end), frequencies)
    tables = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    for table in tables:
        table.flags.writeable = False  # every caller gets the same
    return tables

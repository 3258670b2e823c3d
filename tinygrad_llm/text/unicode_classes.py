r"""What the split patterns ask of a character: letter, number, white space, or none of these.

The table is made from the package `regex`, so that it says of every character what the patterns'
\p{L}, \p{N} and \s say.
"""

from __future__ import annotations

import sys
from functools import cache

import numpy as np


@cache
def unicode_classes() -> np.ndarray:
    r"""For each code point 1 for \p{L}, 2 for \p{N}, 3 for \s, else 0; (1,114,112) uint8.

    >>> [int(unicode_classes()[ord(character)]) for character in "é٣ !"]
    [1, 2, 3, 0]
    """
    import regex

    every = "".join(map(chr, range(sys.maxunicode + 1)))
    classes = np.zeros(len(every), np.uint8)
    for number, pattern in enumerate((r"\p{L}+", r"\p{N}+", r"\s+"), start=1):
        for match in regex.finditer(pattern, every):
            classes[match.start() : match.end()] = number
    return classes

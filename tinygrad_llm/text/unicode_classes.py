r"""What the split patterns ask of a character: letter, number, white space, or none of these.

The answers are those of unicode_ranges.py, whatever Unicode the installed `regex` knows: to it, a
character of which it says something else is shown as one of the same class.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache

import numpy as np

from tinygrad_llm.text.unicode_ranges import LETTERS, NUMBERS, SPACES

_EXPRESSIONS = r"\p{L}+", r"\p{N}+", r"\s+"
_STAND_INS = "\N{NULL}\N{LATIN SMALL LETTER SHARP S}\N{SUPERSCRIPT TWO}\N{EM SPACE}"


@cache
def unicode_classes() -> np.ndarray:
    r"""For each code point 1 for \p{L}, 2 for \p{N}, 3 for \s, else 0; (1,114,112) uint8.

    >>> [int(unicode_classes()[ord(character)]) for character in "é٣ !"]
    [1, 2, 3, 0]
    """
    classes = np.zeros(sys.maxunicode + 1, np.uint8)
    for number, ranges in enumerate((LETTERS, NUMBERS, SPACES), start=1):
        for one in ranges.split():
            first, _, last = one.partition("-")
            classes[int(first, 16) : int(last or first, 16) + 1] = number
    return classes


@cache
def stand_ins() -> Mapping[str, str]:
    """For each character that `regex` puts in another class, one of the right class.

    No pattern of ours names a stand-in, so it is cut as every character of its class.
    """
    import regex

    every, theirs = "".join(map(chr, range(sys.maxunicode + 1))), unicode_classes() * 0
    for number, expression in enumerate(_EXPRESSIONS, start=1):
        for match in regex.finditer(expression, every):
            theirs[match.start() : match.end()] = number
    differing = np.flatnonzero(theirs != unicode_classes())
    return {chr(code): _STAND_INS[unicode_classes()[code]] for code in differing}

"""Misspelt words, and the cheap baseline: the speller that looks the nearest known word up.

Norvig 2007, "How to Write a Spelling Corrector"; edits as Damerau 1964 counts them. It never learns
which slips are likely: what a model adds is what it finds beyond this.
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Mapping
from itertools import chain

import numpy as np


def edits(word: str, letters: str = string.ascii_lowercase) -> tuple[list[str], ...]:
    """The words one edit away, by kind: a letter deleted, two swapped, one replaced, one inserted.

    A replacement may give the word itself. A kind that the word is too short for is empty.

    >>> edits("no", "x")
    (['o', 'n'], ['on'], ['xo', 'nx'], ['xno', 'nxo', 'nox'])
    """
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    return (
        [a + b[1:] for a, b in cuts if b],
        [a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1],
        [a + x + b[1:] for a, b in cuts if b for x in letters],
        [a + x + b for a, b in cuts for x in letters],
    )


def misspelt(word: str, count: int, rng: np.random.Generator) -> str:
    """The word after `count` random edits: first the kind is drawn, then one of that kind.

    A later edit may undo an earlier one, so the word may come back as it was.
    """
    for _ in range(count):
        kinds = [kind for kind in edits(word) if kind]
        kind = kinds[rng.integers(len(kinds))]
        word = kind[rng.integers(len(kind))]
    return word


class Speller:
    """The nearest of the words, at most two edits away; of equally near ones the most frequent.

    counts: how often each word was seen. All their edits are kept, some 500 for a word of 9
    letters: two words are two edits apart where an edit of one is an edit of the other.
    """

    def __init__(self, counts: Mapping[str, int]):
        self._counts = counts
        self._around = defaultdict(set)
        for word in counts:
            for other in chain(*edits(word)):
                self._around[other].add(word)

    def mend(self, text: str) -> str:
        """The word that is meant by a misspelling; the text itself where no word is near."""
        if text in self._counts:
            return text
        near = self._around.get(text) or set().union(
            *(self._around.get(other, ()) for other in chain(*edits(text)))
        )
        return max(sorted(near), key=self._counts.__getitem__, default=text)

"""Edits, misspellings and the speller that looks words up."""

from itertools import chain

import numpy as np
import pytest

from tinygrad_llm.data.spelling import Speller, edits, misspelt


def distance(a, b):
    """Edits between two words in which no letter is edited twice, by the table of all prefixes."""
    d = np.add.outer(np.arange(len(a) + 1), np.arange(len(b) + 1))
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            same = a[i - 1] == b[j - 1]
            d[i, j] = min(d[i - 1, j] + 1, d[i, j - 1] + 1, d[i - 1, j - 1] + (not same))
            if i > 1 and j > 1 and a[i - 2 : i] == b[j - 2 : j][::-1]:
                d[i, j] = min(d[i, j], d[i - 2, j - 2] + 1)
    return d[-1, -1]


@pytest.mark.parametrize("word", ["a", "no", "book", "spelling"])
def test_edits_are_one_away(word):
    found = set(chain(*edits(word))) - {word}
    assert {distance(word, other) for other in found} == {1}
    n, kinds = len(word), list(map(len, edits(word)))
    assert kinds == [n, n - 1, 26 * n, 26 * (n + 1)]


def test_edits_go_both_ways():
    for other in chain(*edits("word")):
        assert "word" in chain(*edits(other))


def test_edits_of_nothing():
    assert edits("", "xy") == ([], [], [], ["x", "y"])


def test_misspelt():
    rng = np.random.default_rng(0)
    assert misspelt("word", 0, rng) == "word"
    assert all(distance("word", misspelt("word", 1, rng)) <= 1 for _ in range(200))
    lengths = {len(misspelt("word", 2, rng)) for _ in range(400)}
    assert lengths == {2, 3, 4, 5, 6}
    again = [misspelt("word", 2, np.random.default_rng(3)) for _ in range(2)]
    assert again[0] == again[1]
    assert len(misspelt("", 2, rng)) in (0, 1, 2)  # nothing to delete, swap or replace at first


def test_kinds_are_drawn_equally():
    """A quarter of single edits is longer, and a quarter is shorter, though few are deletions."""
    rng = np.random.default_rng(0)
    lengths = [len(misspelt("spelling", 1, rng)) for _ in range(2000)]
    assert lengths.count(7) / 2000 == pytest.approx(0.25, abs=0.04)
    assert lengths.count(9) / 2000 == pytest.approx(0.25, abs=0.04)


def test_speller():
    speller = Speller({"spelling": 1, "spilling": 9, "spewing": 1, "quiet": 2, "quite": 3})
    assert speller.mend("spelllng") == "spelling"  # one edit, before two to a more frequent one
    assert speller.mend("spxllxng") == "spilling"  # two from both: the more frequent
    assert speller.mend("quitte") == "quite"
    assert speller.mend("quiet") == "quiet"  # a word stays, whatever is more frequent beside it
    assert speller.mend("zebra") == "zebra"


def test_speller_finds_the_nearest():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcd"), rng.integers(3, 8))) for _ in range(60)]
    counts = {word: int(n) for word, n in zip(words, rng.permutation(1000))}
    speller = Speller(counts)
    for word in counts:
        wrong = misspelt(word, 2, rng)
        far = distance(wrong, speller.mend(wrong))
        assert far <= min(distance(wrong, other) for other in counts)

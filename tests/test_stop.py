"""Stop strings: the text before them whole, of them nothing, however it is cut into pieces."""

import doctest
import itertools

import numpy as np
import pytest

from tinygrad_llm.inference import stop
from tinygrad_llm.inference.stop import until

CASES = [
    ("one END two", ["END"], "one "),
    ("one EN", ["END"], "one EN"),
    ("END", ["END"], ""),
    ("no stop", [], "no stop"),
    ("", ["END"], ""),
    ("aab", ["ab"], "a"),
    ("abcx", ["abcd", "cx"], "ab"),
    ("abc", ["abc", "b"], "a"),
    ("xabc", ["bc", "abc"], "x"),
    ("EENENDx", ["END"], "EEN"),
    ("né\n\nü", ["\n\n"], "né"),
]


def cuts(text):
    """Every way to cut a short text into pieces."""
    places = range(1, len(text))
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(places, n) for n in range(len(text))
    ):
        borders = [0, *chosen, len(text)]
        yield [text[a:b] for a, b in itertools.pairwise(borders)]


@pytest.mark.parametrize("text, stops, expected", CASES)
def test_the_text_ends_before_the_stop_that_is_complete_first(text, stops, expected):
    for pieces in cuts(text):
        assert "".join(until(pieces, stops)) == expected


@pytest.mark.parametrize("text, stops, expected", CASES)
def test_no_piece_shows_more_than_the_text_and_none_is_empty(text, stops, expected):
    shown = ""
    for piece in until(list(text), stops):
        assert piece
        shown += piece
        assert expected.startswith(shown)


def test_random_texts_equal_a_search_character_by_character():
    rng = np.random.default_rng(0)
    for _ in range(500):
        text = "".join(rng.choice(list("abc"), 12))
        stops = ["".join(rng.choice(list("abc"), rng.integers(1, 5))) for _ in range(2)]
        expected = text
        for end in range(len(text) + 1):
            if ended := [stop for stop in stops if text[:end].endswith(stop)]:
                expected = text[: end - max(map(len, ended))]
                break
        pieces = np.split(list(text), np.sort(rng.integers(12, size=3)))
        assert "".join(until(map("".join, pieces), stops)) == expected


def test_text_is_shown_as_soon_as_it_cannot_be_a_stop():
    pieces = until(iter(["one E", "N", "X", "END"]), ["END"])
    assert [next(pieces), next(pieces)] == ["one ", "ENX"]


def test_the_example_in_the_docstring():
    assert doctest.testmod(stop) == (0, 1)


def test_nothing_is_read_after_the_stop():
    read = []

    def source():
        for piece in ("a", "END", "b"):
            read.append(piece)
            yield piece

    assert list(until(source(), ["END"])) == ["a"]
    assert read == ["a", "END"]

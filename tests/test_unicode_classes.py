"""The table of letters, numbers and white space: that of Python, of tiktoken and of tokenizers."""

import sys
import unicodedata

import numpy as np
import pytest

from tinygrad_llm.text import patterns, unicode_classes
from tinygrad_llm.text.patterns import splitter

EVERY = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
NAMES = {1: r"\p{L}+", 2: r"\p{N}+", 3: r"\s+"}


def of_class(number):
    return {chr(code) for code in np.flatnonzero(unicode_classes.unicode_classes() == number)}


def test_classes_are_those_of_python():
    """Wherever both know the character; no version of Unicode takes a category back, nearly."""
    classes = unicode_classes.unicode_classes()
    for character in EVERY:
        category = unicodedata.category(character)[0]
        if category != "C" and classes[ord(character)] != 3:
            expected = {"L": 1, "N": 2}.get(category, 0)
            assert classes[ord(character)] in (expected, 0), hex(ord(character))
            if unicodedata.unidata_version <= "16":
                assert classes[ord(character)] == expected, hex(ord(character))


@pytest.mark.parametrize("number", NAMES)
def test_classes_are_those_of_tiktoken(number):
    tiktoken = pytest.importorskip("tiktoken", reason="pip install tiktoken")
    bytes_alone = {bytes([byte]): byte for byte in range(256)}
    theirs = tiktoken.Encoding(
        "one class", pat_str=NAMES[number], mergeable_ranks=bytes_alone, special_tokens={}
    )
    parts = (EVERY[start : start + 50_000] for start in range(0, len(EVERY), 50_000))
    found = {c for part in parts for c in bytes(theirs.encode_ordinary(part)).decode()}
    assert found == of_class(number)


@pytest.mark.parametrize("number", NAMES)
def test_classes_are_those_of_tokenizers(number):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    split = tokenizers.pre_tokenizers.Split(
        tokenizers.Regex(NAMES[number]), "removed", invert=True
    )
    parts = (EVERY[start : start + 50_000] for start in range(0, len(EVERY), 50_000))
    found = {c for part in parts for piece, _ in split.pre_tokenize_str(part) for c in piece}
    assert found == of_class(number)


def test_ids_do_not_change_with_the_package_that_runs_the_patterns(monkeypatch):
    """A `regex` that takes x and 7 for white space cuts as before."""
    text = "fix é 789 xyz"
    expected = splitter("gpt2")(text)
    monkeypatch.setattr(patterns, "stand_ins", lambda: {"x": "ß", "7": "²"})
    assert splitter("gpt2")(text) == expected == ["fix", " é", " 789", " xyz"]
    monkeypatch.setattr(patterns, "stand_ins", lambda: {"x": "\0"})
    assert splitter("gpt2")(text) == ["fi", "x", " é", " 789", " x", "yz"]

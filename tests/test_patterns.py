"""Split patterns: pieces solved by hand, and the same pieces as two other regex engines."""

import pytest

from tests.random_texts import random_texts
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer, patterns
from tinygrad_llm.text.patterns import PATTERNS, splitter

BY_HAND = {
    "gpt2": [
        ("I'll go  to 1984!", ["I", "'ll", " go", " ", " to", " 1984", "!"]),
        ("I'LL", ["I", "'", "LL"]),
        ("a\n\n b  ", ["a", "\n\n", " b", "  "]),
        ("so...\nnow", ["so", "...", "\n", "now"]),
    ],
    "smollm": [
        ("I'll go  to 1984!", ["I", "'ll", " go", " ", " to", " ", "1", "9", "8", "4", "!"]),
        ("a  2\n\n b  ", ["a", "  ", "2", "\n\n", " b", "  "]),
    ],
    "cl100k": [
        ("I'LL go  to 1984!", ["I", "'LL", " go", " ", " to", " ", "198", "4", "!"]),
        ("so...\nnow \n ", ["so", "...\n", "now", " \n "]),
    ],
    "llama3": [
        ("so...\nnow \n ", ["so", "...\n", "now", " \n", " "]),
        ("I'LL go  to 1984!", ["I", "'LL", " go", " ", " to", " ", "198", "4", "!"]),
        ("a\n\n b  ", ["a", "\n\n", " b", "  "]),
        ("so...\nnow", ["so", "...\n", "now"]),
    ],
}


@pytest.mark.parametrize("name", PATTERNS)
def test_pieces_by_hand(name):
    for text, pieces in BY_HAND[name]:
        assert splitter(name)(text) == pieces


@pytest.mark.parametrize("name", PATTERNS)
def test_pieces_joined_are_the_text(name):
    for text in random_texts(500, seed=1):
        assert "".join(splitter(name)(text)) == text


@pytest.mark.parametrize("name", PATTERNS)
def test_pieces_equal_those_of_tokenizers(name):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERNS[name]), "isolated")
    for text in random_texts(1500, seed=2):
        theirs = [piece for piece, _ in split.pre_tokenize_str(text)]
        assert splitter(name)(text) == theirs


def test_unknown_pattern_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'gpt2'"):
        splitter("gtp2")


def test_an_expression_of_ones_own_keeps_all_text():
    split = splitter(r"(\w)\w*")
    assert split("ab, c!") == ["ab", ", ", "c", "!"]
    with pytest.raises(InputError, match="missing \\)"):
        splitter("(a")


def test_an_expression_that_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr(patterns, "_GRACE", 0.1)
    with pytest.raises(InputError, match="takes more than"):
        splitter(r"(?:a|aa)+$")("a" * 60 + "b")


def test_a_foreign_expression_runs_only_if_allowed(tmp_path):
    tokenizer = BPETokenizer.train(["so it is, so it was"], 262, pattern=r"\w+|\W")
    tokenizer.save(tmp_path)
    with pytest.raises(InputError, match="allow_pattern=True"):
        BPETokenizer.from_file(tmp_path)
    again = BPETokenizer.from_file(tmp_path, allow_pattern=True)
    assert again.fingerprint() == tokenizer.fingerprint()
    assert again.decode(again.encode("so, was it?")) == "so, was it?"

"""Contents: every way in which the parts of a tokenizer can contradict each other is refused."""

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.contents import Contents, merge_ids

BYTES = {bytes([byte]): byte for byte in range(256)}
TWO = {**BYTES, b"ab": 256, b"abc": 257}


def bpe(vocabulary=None, special=None, merges=(), pattern="gpt2"):
    return Contents("bpe", vocabulary or TWO, special or {}, merges, pattern)


def test_parts_that_fit():
    contents = bpe(special={"<|é|>": 258}, merges=[(97, 98), (256, 99)])
    assert contents.tokens == [*BYTES, b"ab", b"abc", "<|é|>".encode()]


def without(byte):
    rest = [token for token in BYTES if token != byte]
    return {token: i for i, token in enumerate(rest)}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: bpe({**BYTES, b"ab": 257}), "b'ab' has the id 257, but 257 tokens need"),
        (lambda: bpe({**BYTES, b"ab": -1}), "has the id -1"),
        (lambda: bpe({**BYTES, b"ab": "256"}), "has the id '256'"),
        (lambda: bpe({**BYTES, b"ab": True}), "has the id True"),
        (lambda: bpe({**BYTES, b"ab": 256.0}), "has the id 256.0"),
        (lambda: bpe({**BYTES, b"ab": [1]}), "has the id"),
        (lambda: bpe({**BYTES, b"ab": 97}), "id 97 belongs to both b'a' and b'ab'"),
        (lambda: bpe(special={"<|x|>": 97}), "id 97 belongs to both"),
        (lambda: bpe(special={"": 258}), "not empty"),
        (lambda: bpe(special={"x\ud800": 258}), "surrogate"),
        (lambda: bpe(special={"ab": 258}), "'ab' is an ordinary token too"),
        (lambda: bpe({**BYTES, b" x": 256}, {"Ġx": 257}), "'Ġx' is an ordinary token too"),
        (lambda: bpe(without(b"q")), "1 of the 256 single bytes are no tokens, b'q' for one"),
        (lambda: bpe(merges=[(98, 97)]), "b'b' and b'a' makes no token"),
        (lambda: bpe(merges=[(97, 98), (97, 98)]), "twice"),
        (lambda: bpe(pattern="mine"), "unknown split pattern"),
        (lambda: Contents("bytes", TWO), "256 bytes in their order"),
        (lambda: Contents("characters", {b"a": 0, b"bc": 1}), "'bc' is not a single character"),
    ],
)
def test_parts_that_contradict(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("merge", [["a"], ["a", "b", "c"], ["a", "z"], ["a", None], [["a"], "b"]])
def test_merges_that_name_no_two_tokens(merge):
    with pytest.raises(InputError, match="a merge"):
        merge_ids(merge, {"a": 0, "b": 1})


def test_fingerprint_depends_on_every_part():
    parts = dict(vocabulary=TWO, special={"<|x|>": 258}, merges=[(97, 98)], pattern="gpt2")
    changed = [
        {},
        {"vocabulary": {**BYTES, b"ab": 257, b"abc": 256}},
        {"special": {"<|y|>": 258}},
        {"merges": []},
        {"pattern": "llama3"},
        {"vocabulary": {**TWO, b"<|x|>": 258}, "special": {}},
    ]
    assert len({bpe(**{**parts, **change}).fingerprint() for change in changed}) == len(changed)
    assert bpe(**parts).fingerprint() == bpe(**{**parts, "merges": ((97, 98),)}).fingerprint()

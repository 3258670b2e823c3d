"""Compiled byte-pair encoding gives the ids of its readable twin."""

import random

import pytest

from tests.random_texts import random_texts, shared_text
from tinygrad_llm import reference
from tinygrad_llm.kernels import bpe
from tinygrad_llm.text import BPETokenizer, compiled
from tinygrad_llm.text.contents import Contents
from tinygrad_llm.text.patterns import PATTERNS

CORPUS = ["It was the best of times, it was the worst of times; naïve Füße, 語 語 😀😀 1999 2000\n"]


@pytest.fixture(params=PATTERNS)
def tokenizer(request):
    return BPETokenizer.train(CORPUS * 3, 300, pattern=request.param)


def encoded(tokenizer, text):
    return tokenizer._encoder.encode(text)


def readable(tokenizer, texts):
    with reference():
        return tokenizer.encode_batch(texts)


def test_random_texts_one_by_one_and_in_a_batch(tokenizer):
    texts = [text.encode("utf-8", "replace").decode() for text in random_texts(2000, seed=3)]
    expected = readable(tokenizer, texts)
    assert [encoded(tokenizer, text) for text in texts] == expected
    assert tokenizer._encoder.encode_batch(texts) == expected


def test_long_pieces_are_merged_by_a_heap(tokenizer):
    rng = random.Random(6)
    texts = ["".join(rng.choices("thebsof", k=rng.randrange(60, 400))) for _ in range(200)]
    texts += [c * n for c in ("a", "tt", "^", " ", "\n", "1", "😀") for n in (63, 64, 65, 1000)]
    assert [encoded(tokenizer, text) for text in texts] == readable(tokenizer, texts)


def test_memory_that_is_full_starts_anew(tokenizer, monkeypatch):
    for name, size in (("_ENTRIES", 16), ("_ENTRIES", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(bpe, name, size)
            fresh = BPETokenizer(tokenizer.contents)
            texts = random_texts(300, seed=8)
            assert fresh._encoder.encode_batch(texts) == readable(
                tokenizer, texts
            )


def test_a_text_longer_than_one_call_takes(tokenizer, monkeypatch):
    text = shared_text("tinyshakespeare.txt")
    assert len(text) < bpe._AT_ONCE
    longer = text * 5
    assert encoded(tokenizer, longer) == encoded(tokenizer, text) * 5


def test_batches_keep_their_order_whatever_the_sizes(tokenizer):
    rng = random.Random(2)
    texts = ["the worst of times " * rng.randrange(40) for _ in range(57)] + [""] * 3
    encode_batch = tokenizer._encoder.encode_batch
    assert encode_batch(texts) == readable(tokenizer, texts)
    assert encode_batch([]) == [] and encode_batch([""]) == [[]]
    for count in (1, 2, 3, 100):
        groups = compiled._groups(texts, count)
        assert [text for group in groups for text in group] == texts


def test_control_characters_that_a_vocabulary_lacks_are_left_out():
    whole = BPETokenizer.train(CORPUS, 280).contents
    gone = [b"\x00", b"\x1b", b"\xff"]
    rest = [token for token in whole.tokens if token not in gone]
    numbers = {token: i for i, token in enumerate(rest)}
    merges = [tuple(numbers[whole.tokens[i]] for i in pair) for pair in whole.merges]
    lacking = BPETokenizer(Contents("bpe", numbers, {}, merges, "gpt2"))
    text = "the \0worst\x1b\x1b of\0" + "ti\0mes" * 30
    with reference():
        ids = lacking.encode(text)
        assert ids == lacking.encode(text)
    assert encoded(lacking, text) == ids
    assert lacking.decode(ids) == text.replace("\0", "").replace("\x1b", "")

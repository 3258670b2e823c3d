"""What every tokenizer promises, for each of the three classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_texts import random_texts
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer, ByteTokenizer, CharTokenizer, token_lengths

TEXTS = [*random_texts(60, seed=8), "plain <|end|> text <|end|>more", "<|end|>x"]
SPECIAL = ["<|end|>", "<|end|>more", "two words"]
TOKENIZERS = {
    "bpe": BPETokenizer.train(TEXTS, 500, special_tokens=SPECIAL),
    "bytes": ByteTokenizer(SPECIAL),
    "characters": CharTokenizer.train([*TEXTS, "two words"], SPECIAL),
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]


def test_round_trip(tokenizer):
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(np.array(ids, dtype=np.uint16)) == text.encode()
        assert not set(ids) & set(tokenizer.special_tokens.values())


def test_the_longest_special_token_wins(tokenizer):
    special = tokenizer.special_tokens
    text = "<|end|>x<|end|>more<|end|>"
    ids = tokenizer.encode(text, allowed_special="all")
    assert [i for i in ids if i in special.values()] == [
        special["<|end|>"],
        special["<|end|>more"],
        special["<|end|>"],
    ]
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode(text, {"<|end|>"}).count(special["<|end|>"]) == 3


def test_batch(tokenizer):
    assert tokenizer.encode_batch(TEXTS, "all") == [tokenizer.encode(t, "all") for t in TEXTS]


@given(data=st.data(), name=st.sampled_from(list(TOKENIZERS)))
@settings(max_examples=200, deadline=None, database=None)
def test_stream_decoder_agrees_with_decode_on_any_ids(data, name):
    tokenizer = TOKENIZERS[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20))
    decoder = tokenizer.stream_decoder()
    for _ in range(2):
        parts = [decoder.feed(index) for index in ids] + [decoder.finish()]
        assert "".join(parts) == tokenizer.decode(ids)


def test_stream_decoder_keeps_half_a_character_back():
    decoder = ByteTokenizer().stream_decoder()
    assert [decoder.feed(byte) for byte in "a😀".encode()] == ["a", "", "", "", "😀"]
    assert decoder.feed(0xE2) == "" and decoder.finish() == "\ufffd"


@pytest.mark.parametrize("index", [-1, 10**6, 2**80, 1.5, "3", None, [1]])
def test_an_id_outside_is_named(tokenizer, index):
    for call in (
        tokenizer.token_bytes,
        lambda i: tokenizer.decode([0, i]),
        tokenizer.stream_decoder().feed,
    ):
        with pytest.raises(InputError, match="id"):
            call(index)
    with pytest.raises(InputError, match=str(tokenizer.vocab_size)):
        tokenizer.decode([tokenizer.vocab_size])


def test_wrong_arguments_of_encode(tokenizer):
    with pytest.raises(InputError, match="did you mean '<|end|>'"):
        tokenizer.encode("a", {"<|ende|>"})
    with pytest.raises(InputError, match="allowed_special"):
        tokenizer.encode("a", "<|end|>")
    with pytest.raises(InputError, match="not bytes"):
        tokenizer.encode(b"a")


def test_fingerprint_tells_every_difference():
    prints = [
        tokenizer.fingerprint()
        for tokenizer in (
            *TOKENIZERS.values(),
            ByteTokenizer(),
            ByteTokenizer(SPECIAL[::-1]),
            BPETokenizer.train(TEXTS, 500, special_tokens=SPECIAL, pattern="llama3"),
            BPETokenizer.train(TEXTS, 499, special_tokens=SPECIAL),
            CharTokenizer.train(["abc"]),
        )
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(bytes.fromhex(print_)) == 32 for print_ in prints)
    assert ByteTokenizer(SPECIAL).fingerprint() == TOKENIZERS["bytes"].fingerprint()


def test_token_lengths_count_the_bytes_of_a_text(tokenizer):
    lengths = token_lengths(tokenizer)
    assert lengths.shape == (tokenizer.vocab_size,)
    text = "".join(TEXTS)
    assert lengths[tokenizer.encode(text)].sum() == len(text.encode())
    assert all(lengths[i] == 0 for i in tokenizer.special_tokens.values())

"""ByteTokenizer: the ids are the bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import ByteTokenizer


@given(st.text())
@settings(max_examples=200, deadline=None, database=None)
def test_ids_are_the_bytes(text):
    assert ByteTokenizer().encode(text) == list(text.encode())


@given(st.binary())
@settings(max_examples=200, deadline=None, database=None)
def test_any_bytes_decode(data):
    assert ByteTokenizer().decode_bytes(data) == data
    assert ByteTokenizer().decode(data) == data.decode(errors="replace")


def test_special_tokens_follow_the_bytes():
    tokenizer = ByteTokenizer(["<|a|>", "b c"])
    assert tokenizer.vocab_size == 258
    assert tokenizer.encode("b c<|a|>", "all") == [257, 256]
    with pytest.raises(InputError, match="ordinary token"):
        ByteTokenizer(["a"])

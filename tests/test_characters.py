"""CharTokenizer: ids by hand, and the error for an unknown character."""

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import CharTokenizer


def test_by_hand():
    """The characters of "hello" in order are e h l o: e is 0, h is 1."""
    tokenizer = CharTokenizer.train(["hel", "lo"], special_tokens=["<|end|>"])
    assert tokenizer.encode("hello<|end|>", "all") == [1, 0, 2, 2, 3, 4]
    assert tokenizer.vocab_size == 5
    assert tokenizer.token_bytes(2) == b"l"


@pytest.mark.parametrize(
    "text, character, position",
    [
        ("hex", "'x' (U+0078)", 2),
        ("lé", "'é' (U+00E9)", 1),
        ("o\ud800", "'\ufffd' (U+FFFD)", 1),
        ("<|end|>\nhe", r"'\n' (U+000A)", 7),
    ],
)
def test_an_unknown_character_is_named_with_its_position(text, character, position):
    tokenizer = CharTokenizer.train(["hello"], special_tokens=["<|end|>"])
    with pytest.raises(InputError) as error:
        tokenizer.encode(text, "all")
    assert f"character {character} at position {position} " in str(error.value)
    assert "ByteTokenizer" in str(error.value)


def test_sources(tmp_path):
    (tmp_path / "a.txt").write_bytes("né\r\n".encode())
    assert CharTokenizer.train(tmp_path / "a.txt").vocab_size == 4
    with pytest.raises(InputError, match="no text"):
        CharTokenizer.train([])
    with pytest.raises(InputError, match="ordinary token"):
        CharTokenizer.train(["abc"], special_tokens=["b"])

"""The byte alphabet against the one that Hugging Face's tokenizers uses."""

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.byte_alphabet import BYTE_ORDER, spell, unspell


def test_spelling_and_back_for_every_byte():
    every = bytes(range(256))
    assert unspell(spell(every)) == every
    assert len(set(spell(every))) == 256
    assert spell(b" \n\xad") == "ĠĊŃ"


def test_order_is_that_of_the_characters():
    assert sorted(BYTE_ORDER) == list(range(256))
    assert list(spell(BYTE_ORDER)) == sorted(spell(BYTE_ORDER))


def test_alphabet_is_that_of_tokenizers():
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    assert sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()) == list(spell(BYTE_ORDER))


@pytest.mark.parametrize("spelling", ["a b", "a\n", "語", "\ud800"])
def test_a_character_outside_is_named(spelling):
    with pytest.raises(InputError, match="stands for no byte"):
        unspell(spelling)

"""One id for each character that the training text holds: `CharTokenizer`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.contents import Contents, number_special
from tinygrad_llm.text.streams import texts, well_formed
from tinygrad_llm.text.tokenizer import Tokenizer


class CharTokenizer(Tokenizer):
    """The characters (Unicode code points) of a text, sorted, are the ids 0, 1, 2, ...

    >>> CharTokenizer.train(["hello"]).encode("hole")
    [1, 3, 2, 0]
    """

    kind = "characters"

    def __init__(self, contents: Contents) -> None:
        super().__init__(contents)
        self._ids = {token.decode(): index for token, index in contents.vocabulary.items()}

    @classmethod
    def train(
        cls,
        texts_or_path: str | Path | TextIO | Iterable[str | Path],
        special_tokens: Sequence[str] = (),
    ) -> CharTokenizer:
        """A vocabulary of all characters of the path of a UTF-8 file, an open file, or texts."""
        found: set[str] = set()
        for text in texts(texts_or_path):
            found.update(well_formed(text))
        if not found:
            raise InputError("there is no text to train a tokenizer on; give at least a character")
        vocabulary = {character.encode(): i for i, character in enumerate(sorted(found))}
        special = number_special(special_tokens, len(vocabulary))
        return cls(Contents("characters", vocabulary, special))

    def encode(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """The ids of `text`; InputError for a character that is not in the vocabulary."""
        try:
            return super().encode(text, allowed_special)
        except KeyError as error:
            character = error.args[0]
        raise InputError(
            f"character {character!r} (U+{ord(character):04X}) at position "
            f"{well_formed(text).find(character)} is not in the vocabulary of "
            f"{len(self._ids)} characters; train the tokenizer on text that holds it, "
            "or use ByteTokenizer or BPETokenizer, which know every text"
        )

    def _encode_ordinary(self, text: str) -> list[int]:
        return list(map(self._ids.__getitem__, text))

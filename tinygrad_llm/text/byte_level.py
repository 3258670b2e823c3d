"""One id for each byte of UTF-8: `ByteTokenizer` needs no training and knows every text."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_llm.text.contents import Contents, number_special
from tinygrad_llm.text.tokenizer import Tokenizer


class ByteTokenizer(Tokenizer):
    """The bytes 0 to 255 are the ids; special tokens follow from 256 on.

    >>> ByteTokenizer(["<|endoftext|>"]).encode("né<|endoftext|>", allowed_special="all")
    [110, 195, 169, 256]
    """

    kind = "bytes"

    def __init__(self, special_tokens: Sequence[str] = ()) -> None:
        vocabulary = {bytes([byte]): byte for byte in range(256)}
        super().__init__(Contents("bytes", vocabulary, number_special(special_tokens, 256)))

    @classmethod
    def from_contents(cls, contents: Contents) -> ByteTokenizer:
        return cls(sorted(contents.special_tokens, key=contents.special_tokens.__getitem__))

    def _encode_ordinary(self, text: str) -> list[int]:
        return list(text.encode())

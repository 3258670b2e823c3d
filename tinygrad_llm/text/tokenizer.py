"""What every tokenizer of this room can do; a subclass adds how it cuts ordinary text into ids."""

from __future__ import annotations

import codecs
import operator
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError, suggest
from tinygrad_llm.text import tokenizer_json
from tinygrad_llm.text.contents import Contents
from tinygrad_llm.text.streams import well_formed


class Tokenizer:
    """Text to ids and back; the ids are 0 to `vocab_size` - 1, special tokens included."""

    kind: str

    def __init__(self, contents: Contents) -> None:
        self.contents = contents

    @classmethod
    def from_file(cls, path: str | Path):
        """Read the tokenizer.json `path`, or the one in the folder `path`.

        InputError if the file is missing or malformed, or holds another kind of tokenizer.
        """
        return cls._of_kind(path, tokenizer_json.read(path))

    @classmethod
    def _of_kind(cls, path: str | Path, contents: Contents):
        if contents.kind != cls.kind:
            raise InputError(
                f"{path} holds a tokenizer of the kind {contents.kind!r}, "
                f"not {cls.kind!r}; load_tokenizer reads every kind"
            )
        return cls.from_contents(contents)

    @classmethod
    def from_contents(cls, contents: Contents):
        """The tokenizer that `contents` describes."""
        return cls(contents)

    @property
    def vocab_size(self) -> int:
        """The number of ids, special tokens included."""
        return len(self.contents.tokens)

    @property
    def special_tokens(self) -> dict[str, int]:
        """The id of each special token."""
        return dict(self.contents.special_tokens)

    def encode(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """The ids of `text`; lone surrogates in it become U+FFFD.

        A special token in the text is ordinary text unless `allowed_special` (a collection of
        names, or "all") names it: a user's text never yields a special id unasked.
        """
        text = well_formed(text)
        names = self._allowed(allowed_special)
        if not names:
            return self._encode_ordinary(text)
        ids, start = [], 0
        for match in _finder(names).finditer(text):
            ids += self._encode_ordinary(text[start : match.start()])
            ids.append(self.contents.special_tokens[match[0]])
            start = match.end()
        return ids + self._encode_ordinary(text[start:])

    def _allowed(self, names: Collection[str] | str) -> frozenset[str]:
        known = self.contents.special_tokens
        if names == "all":
            return frozenset(known)
        if isinstance(names, str):
            raise InputError(f"allowed_special is 'all' or a set of names: write {{{names!r}}}")
        for name in names:
            if name not in known:
                raise suggest(name, known, "special token")
        return frozenset(names)

    def _encode_ordinary(self, text: str) -> list[int]:
        raise NotImplementedError

    def encode_with_offsets(
        self, text: str, allowed_special: Collection[str] | str = ()
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of `text`, and for each the characters (start, end) of `text` that it touches.

        InputError where the ids do not stand for the text byte by byte, as those of WordPiece.
        """
        text, ids = well_formed(text), self.encode(text, allowed_special)
        if self.decode_bytes(ids) != (encoded := text.encode()):
            raise InputError(f"the ids of a {type(self).__name__} do not spell this text exactly")
        ends = np.cumsum([len(self.token_bytes(index)) for index in ids], dtype=np.int64)
        # the character to which each byte belongs: as many as have begun, less one
        character = np.cumsum((np.frombuffer(encoded, np.uint8) & 0xC0) != 0x80) - 1
        starts = character[np.concatenate([[0], ends[:-1]])[: len(ids)]]
        return ids, list(zip(starts.tolist(), (character[ends - 1] + 1).tolist()))

    def encode_batch(
        self, texts: Iterable[str], allowed_special: Collection[str] | str = ()
    ) -> list[list[int]]:
        """`encode` of each text."""
        return [self.encode(text, allowed_special) for text in texts]

    def token_bytes(self, index: int) -> bytes:
        """The bytes of one id; InputError for an id that is not in the vocabulary."""
        try:
            number = operator.index(index)
        except TypeError:
            raise InputError(f"an id is an integer, not {index!r:.60}") from None
        if not 0 <= number < self.vocab_size:
            raise InputError(
                f"id {number} is not in the vocabulary, whose ids are 0 to {self.vocab_size - 1}"
            )
        return self.contents.tokens[number]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, special tokens included."""
        return b"".join(map(self.token_bytes, ids))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8, such as half a character, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for ids that arrive one at a time."""
        return StreamDecoder(self)

    def fingerprint(self) -> str:
        """SHA-256 of all that decides about ids, in hexadecimal; saving and loading keep it."""
        return self.contents.fingerprint()

    def save(self, path: str | Path) -> None:
        """Write a tokenizer.json, which Hugging Face's tokenizers reads, to the file or folder."""
        tokenizer_json.write(path, self.contents)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.vocab_size} tokens>"


class StreamDecoder:
    """Turns ids into text one at a time, never breaks a character, and agrees with `decode`.

    >>> from tinygrad_llm.text import ByteTokenizer
    >>> decoder = ByteTokenizer().stream_decoder()
    >>> [decoder.feed(index) for index in "né".encode()] + [decoder.finish()]
    ['n', '', 'é', '']
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._token_bytes = tokenizer.token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, index: int) -> str:
        """The text that the id `index` completes: empty while a character lacks bytes."""
        return self._utf8.decode(self._token_bytes(index))

    def finish(self) -> str:
        """What is left: U+FFFD for a character that was never completed. Then it starts anew."""
        return self._utf8.decode(b"", final=True)


@lru_cache(maxsize=16)
def _finder(names: frozenset[str]) -> re.Pattern[str]:
    """Finds the leftmost of `names`, and of those that start there the longest."""
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))


def token_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes of text each id stands for, (V,) int64; a special token is no text: 0."""
    lengths = np.array([len(token) for token in tokenizer.contents.tokens], dtype=np.int64)
    lengths[list(tokenizer.special_tokens.values())] = 0
    return lengths

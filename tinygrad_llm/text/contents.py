"""What a tokenizer is, apart from how it works: tokens, merges, special tokens and split pattern.

Every file is read into a `Contents` and every tokenizer is built from one, so that each rule is
checked once, here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from functools import cached_property

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.byte_alphabet import spell
from tinygrad_llm.text.patterns import splitter


@dataclass(frozen=True)
class WordPieceSettings:
    """What a WordPiece tokenizer does; names and defaults as in Hugging Face's tokenizers."""

    clean_text: bool = True  # drop control characters, make all white space blanks
    handle_chinese_chars: bool = True  # each ideograph is a word
    strip_accents: bool | None = None  # None: as lowercase says
    lowercase: bool = True
    unk_token: str = "[UNK]"  # a word of which a part is unknown
    continuing_subword_prefix: str = "##"  # spells parts that do not begin a word
    max_input_chars_per_word: int = 100  # a longer word is unknown
    before: tuple[str, ...] = ("[CLS]",)  # special tokens that `wrap` puts before
    after: tuple[str, ...] = ("[SEP]",)  # and behind


@dataclass(frozen=True)
class Contents:
    """A tokenizer: "bpe", "bytes", "characters", "wordpiece"; InputError where parts disagree.

    `vocabulary` numbers the ordinary tokens and `special_tokens` the special ones: together they
    use each id from 0 on once. A merge (left, right) of ordinary ids makes the token whose bytes
    are those of both; merges stand in the order in which they were learned; if `tied`, as
    tiktoken has it, those that make the same token come at once. Merges and a split pattern belong
    to "bpe" alone, `wordpiece` to "wordpiece".
    """

    kind: str
    vocabulary: Mapping[bytes, int]
    special_tokens: Mapping[str, int] = field(default_factory=dict)
    merges: Sequence[tuple[int, int]] = ()
    pattern: str | None = None
    tied: bool = False
    wordpiece: WordPieceSettings | None = None

    def __post_init__(self) -> None:
        _check_ids(self.vocabulary, self.special_tokens)
        _check_special(self)
        _CHECKS[self.kind](self)

    @cached_property
    def tokens(self) -> list[bytes]:
        """The bytes of each id, special tokens included."""
        special = {name.encode(): index for name, index in self.special_tokens.items()}
        pairs = [*self.vocabulary.items(), *special.items()]
        return [token for token, _ in sorted(pairs, key=lambda pair: pair[1])]

    def spell(self, token: bytes) -> str:
        """How a file spells an ordinary token: in the byte alphabet, or as the character it is."""
        return token.decode() if self.kind in ("characters", "wordpiece") else spell(token)

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides about ids and text."""
        tokens = [token.hex() for token in self.tokens]
        special = sorted(self.special_tokens.items())
        parts = [self.kind, tokens, special, list(self.merges), self.pattern]
        parts += ["tied"] * self.tied
        parts += [asdict(self.wordpiece)] if self.wordpiece else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# Bytes that a vocabulary may lack, as SmolLM's does: in UTF-8 they are control characters, begin a
# plane without characters, or never occur. Text loses them, as in Hugging Face's tokenizers.
_SPARE = {bytes([b]) for b in (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0xC0, 0xC1)}
_SPARE |= {bytes([b]) for b in (0xF1, 0xF2, *range(0xF5, 0x100))}


def number_special(names: Sequence[str], first: int) -> dict[str, int]:
    """Ids for special tokens: `first` for the first of `names`, and so on."""
    if isinstance(names, (str, Set)):
        raise InputError(f"special_tokens is a list of names in the order of ids, not {names!r}")
    numbers: dict[str, int] = {}
    for name in names:
        if name in numbers:
            raise InputError(f"the special token {name!r} is named twice")
        numbers[name] = first + len(numbers)
    return numbers


def merge_ids(spellings: Iterable[object], ids: Mapping[str, int]) -> tuple[int, int]:
    """A merge of two spellings as a pair of ids; InputError unless both have one."""
    spellings = list(spellings)
    if len(spellings) != 2:
        raise InputError(f"a merge joins two tokens, not {' '.join(map(repr, spellings)):.80}")
    for spelling in spellings:
        if not isinstance(spelling, str) or spelling not in ids:
            raise InputError(f"a merge names {spelling!r:.60}, which is no ordinary token")
    return ids[spellings[0]], ids[spellings[1]]


def _check_ids(vocabulary: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> None:
    total = len(vocabulary) + len(special_tokens)
    owners: dict[int, bytes | str] = {}
    for token, index in [*vocabulary.items(), *special_tokens.items()]:
        if type(index) is not int or not 0 <= index < total:
            raise InputError(
                f"token {token!r:.60} has the id {index!r:.40}, "
                f"but {total} tokens need the ids 0 to {total - 1}"
            )
        if index in owners:
            raise InputError(f"id {index} belongs to both {owners[index]!r:.60} and {token!r:.60}")
        owners[index] = token


def _check_special(contents: Contents) -> None:
    spellings = {contents.spell(token) for token in contents.vocabulary}
    for name in contents.special_tokens:
        if not isinstance(name, str) or not name:
            raise InputError(f"a special token is a text that is not empty, not {name!r:.60}")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise InputError(f"special token {name!r:.60} holds a surrogate, which is not Unicode")
        if name in spellings:
            raise InputError(
                f"the special token {name!r:.60} is an ordinary token too; "
                f"choose a name that no text holds, such as '<|{name:.20}|>'"
            )


def _check_bpe(contents: Contents) -> None:
    splitter(contents.pattern)
    if missing := {bytes([byte]) for byte in range(256)} - contents.vocabulary.keys() - _SPARE:
        raise InputError(
            f"{len(missing)} of the 256 single bytes are no tokens, {min(missing)!r} for one; a "
            "byte-level vocabulary needs them all, but for control characters"
        )
    tokens, seen = {index: token for token, index in contents.vocabulary.items()}, set()
    for pair in contents.merges:
        left, right = (tokens[index] for index in pair)
        if left + right not in contents.vocabulary:
            raise InputError(f"the merge of {left!r:.40} and {right!r:.40} makes no token")
        if pair in seen:
            raise InputError(f"the merge of {left!r:.40} and {right!r:.40} stands there twice")
        seen.add(pair)


def _check_bytes(contents: Contents) -> None:
    if contents.vocabulary != {bytes([byte]): byte for byte in range(256)}:
        raise InputError("without a split pattern, the tokens are the 256 bytes in their order")


def _check_characters(contents: Contents) -> None:
    if longer := [token for token in contents.vocabulary if len(token.decode()) != 1]:
        raise InputError(f"token {longer[0].decode()!r:.60} is not a single character")


def _check_wordpiece(contents: Contents) -> None:
    settings = contents.wordpiece
    known = contents.special_tokens.keys() | {token.decode() for token in contents.vocabulary}
    for name in (settings.unk_token, *settings.before, *settings.after):
        if name not in known:
            raise InputError(f"the vocabulary has no token {name!r:.60}, which the text needs")


_CHECKS = {
    "bpe": _check_bpe,
    "bytes": _check_bytes,
    "characters": _check_characters,
    "wordpiece": _check_wordpiece,
}

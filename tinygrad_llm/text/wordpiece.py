"""WordPiece, BERT's tokenizer: words cut at white space and punctuation, then of each the longest
known part from the left.

Devlin et al. 2018, arXiv 1810.04805, and its tokenization.py; the search is that of Schuster and
Nakajima 2012.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import groupby

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.contents import Contents
from tinygrad_llm.text.tokenizer import StreamDecoder, Tokenizer

# CJK ideographs, as Hugging Face's tokenizers count them: each is a word.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
# Marks, punctuation and control characters that are younger than the tables of those tokenizers,
# which take them for letters; and three that Unicode has classed anew since.
_YOUNGER = """
61d 7fd 890-891 898-89f 8ca-8e2 9fd-9fe a76 afa-aff b55 c04 c3c c77 c84 d00 d3b-d3c d81 eba
180f 1885-1886 1abf-1ace 1b7d-1b7e 1df6-1dfb 2e43-2e4f 2e52-2e5d a82c a8c5 a8ff a9bd
10d24-10d27 10eab-10ead 10f46-10f50 10f55-10f59 10f82-10f89 11070 11073-11074 110c2 110cd
111cf 1123e 1133b 11438-1143f 11442-11444 11446 1144b-1144f 1145a-1145b 1145d-1145e
11660-1166c 116b9 1182f-11837 11839-1183b 1193b-1193c 1193e 11943-11946 119d4-119d7
119da-119db 119e0 119e2 11a01-11a0a 11a33-11a38 11a3b-11a47 11a51-11a56 11a59-11a5b
11a8a-11a96 11a98-11a9c 11a9e-11aa2 11c30-11c36 11c38-11c3d 11c3f 11c41-11c45 11c70-11c71
11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45
11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 11ef7-11ef8 11fff 12ff1-12ff2 13430-13438
16e97-16e9a 16f4f 16fe2 16fe4 1cf00-1cf2d 1cf30-1cf46 1e000-1e006 1e008-1e018 1e01b-1e021
1e023-1e024 1e026-1e02a 1e130-1e136 1e2ae 1e2ec-1e2ef 1e944-1e94a 1e95e-1e95f
"""
_RECLASSED = {"\u166d": "Po", "\u1734": "Mn", "\U000111c9": "Po"}
_WORD, _SPACE, _ALONE = range(3)
_CONTROL = ("Cc", "Cf", "Co")


class WordPieceTokenizer(Tokenizer):
    """Text to the ids of BERT and of the models made from it; read with `from_file`.

    `encode` gives the text alone; `wrap` puts [CLS] before and [SEP] behind, as such models expect.
    """

    kind = "wordpiece"

    def __init__(self, contents: Contents) -> None:
        super().__init__(contents)
        self.settings = contents.wordpiece
        self._ids = {token.decode(): i for token, i in contents.vocabulary.items()}
        self._ids |= contents.special_tokens
        self._unknown = self._ids[self.settings.unk_token]
        self._encode_word = lru_cache(maxsize=1 << 16)(self._parts)

    def wrap(self, ids: Iterable[int]) -> list[int]:
        """[CLS] ids [SEP], or whichever tokens the file names."""
        settings = self.settings
        return [*map(self._ids.get, settings.before), *ids, *map(self._ids.get, settings.after)]

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in words(normalized(text, self.settings)):
            ids += self._encode_word(word)
        return ids

    def _parts(self, word: str) -> list[int]:
        """The longest known part from the left, then of what is left; all unknown if one is."""
        settings, ids, start = self.settings, [], 0
        if len(word) > settings.max_input_chars_per_word:
            return [self._unknown]
        while start < len(word):
            prefix = settings.continuing_subword_prefix if start else ""
            for end in range(len(word), start, -1):
                index = self._ids.get(prefix + word[start:end])
                if index is not None:
                    break
            else:
                return [self._unknown]
            ids.append(index)
            start = end
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The words of `ids` with blanks between them, none before a stop or within 'don't'."""
        prefix, words = self.settings.continuing_subword_prefix, []
        for i, index in enumerate(ids):
            word = self.token_bytes(index).decode()
            part = i > 0 and word.startswith(prefix)
            words.append(_cleaned(word.removeprefix(prefix) if part else " " * (i > 0) + word))
        return "".join(words)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The same as UTF-8."""
        return self.decode(ids).encode()

    def stream_decoder(self) -> StreamDecoder:
        raise InputError("WordPiece does not write text as it goes; decode all ids at once")


def normalized(text: str, settings) -> str:
    """`text` as BERT sees it: control characters gone, ideographs apart, accents and case gone."""
    if settings.clean_text:
        text = text.translate(_CLEAN)
    if settings.handle_chinese_chars:
        text = "".join(f" {c} " if _is_ideograph(c) else c for c in text)
    strip = settings.lowercase if settings.strip_accents is None else settings.strip_accents
    if strip:
        apart = unicodedata.normalize("NFD", text)
        text = "".join(c for c in apart if _category(c) != "Mn")
    # character by character: a sigma at the end of a word stays as it is in the middle
    return "".join(map(str.lower, text)) if settings.lowercase else text


def words(text: str) -> list[str]:
    """The words between white space, with each punctuation character a word of its own.

    >>> words("it's $5.0  now")
    ['it', "'", 's', '$', '5', '.', '0', 'now']
    """
    found: list[str] = []
    for kind, run in groupby(text, _kind):
        if kind == _WORD:
            found.append("".join(run))
        elif kind == _ALONE:
            found += run
    return found


@cache
def _kind(character: str) -> int:
    if _is_white(character):
        return _SPACE
    symbol = character.isascii() and character.isprintable() and not character.isalnum()
    return _ALONE if symbol or _category(character).startswith("P") else _WORD


@cache
def _is_ideograph(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)


@cache
def _category(character: str) -> str:
    """The category of a character in the tables of Hugging Face's tokenizers."""
    if character in _RECLASSED:
        return _RECLASSED[character]
    return "Lo" if ord(character) in _younger() else unicodedata.category(character)


@cache
def _younger() -> frozenset[int]:
    """The code points of _YOUNGER."""
    spans = [tuple(int(end, 16) for end in span.split("-")) for span in _YOUNGER.split()]
    return frozenset(code for span in spans for code in range(span[0], span[-1] + 1))


def _is_white(character: str) -> bool:
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f"


class _Cleaning(dict):
    """What a code point becomes: nothing for control characters, a blank for white space."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        if character not in "\t\n\r" and (code == 0xFFFD or _category(character) in _CONTROL):
            self[code] = None
        else:
            self[code] = " " if _is_white(character) else character
        return self[code]


_CLEAN = _Cleaning()


def _cleaned(word: str) -> str:
    """A word without the blank that does not belong, as tokenizers' decoder cleans it."""
    for before, after in (
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ):
        word = word.replace(before, after)
    return word

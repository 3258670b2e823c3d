"""Text of any size in chunks that fit in memory, cut where no tokenizer here sees a difference."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.unicode_classes import unicode_classes

CHUNK = 1 << 20
LONGEST = 8
_WORD = (1, 2)  # classes of letters and numbers
_AFTER_A_WORD = frozenset(" \t\r\n\u3000,.;:!?)，。、；：！？）")


def chunks(source: TextIO | Iterable[str], size: int = CHUNK) -> Iterator[str]:
    """The one text in `source` (an open file, or parts that follow each other) in chunks.

    Guarantee: the chunks joined are the text, and their ids, one after the other, are the ids of
    the whole text, for every split pattern, for characters and for bytes, wherever the parts end.
    Only a special token that the text may hold (`allowed_special`) can be cut in two.

    A chunk has about `size` characters. Where there is no safe place to cut (a million times `=`),
    it grows to `LONGEST * size` or a little more and is cut there; that one extra border may change
    the tokens that touch it.

    >>> list(chunks(["one tw", "o three"], size=6))
    ['one', ' two', ' three']
    """
    if size < 1:
        raise InputError(f"chunks of {size} characters are impossible; size must be at least 1")
    held, searched = "", 0
    for block in _blocks(source, size):
        held += block
        cut = _last_safe_cut(held, searched) if len(held) >= size else 0
        if cut == 0 and len(held) >= LONGEST * size:
            cut = len(held)
        if cut:
            yield held[:cut]
            held = held[cut:]
        searched = len(held)
    if held:
        yield held


def _last_safe_cut(text: str, start: int) -> int:
    """The last position from `start` on where `text` may be cut in two; 0 where there is none."""
    for position in range(len(text) - 1, max(start, 1) - 1, -1):
        if _is_safe(text[position - 1], text[position]):
            return position
    return 0


def _is_safe(before: str, after: str) -> bool:
    """Does every split pattern end a piece between these two, without looking past them?

    A piece never goes on from a letter or digit to white space or a stop (it may to an accent or an
    apostrophe), nor from anything but white space to a blank. A run of white space is never cut:
    how it falls into pieces depends on what follows it.
    """
    if after == " " and not before.isspace():
        return True
    return after in _AFTER_A_WORD and unicode_classes()[ord(before)] in _WORD


def _blocks(source: TextIO | Iterable[str], size: int) -> Iterator[str]:
    """The same text in blocks of `size` to 2 `size` characters, the last one of any length."""
    parts = iter(lambda: source.read(size), "") if hasattr(source, "read") else source
    pending, length = [], 0
    for part in parts:
        if not isinstance(part, str):
            raise InputError(f"a text must be str, not {type(part).__name__}")
        for start in range(0, len(part), size):
            pending.append(part[start : start + size])
            length += len(pending[-1])
            if length >= size:
                yield "".join(pending)
                pending, length = [], 0
    if pending:
        yield "".join(pending)


def file_chunks(path: str | Path, size: int = CHUNK) -> Iterator[str]:
    """`chunks` of a UTF-8 file, its line ends as they are; InputError where it cannot be read."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            yield from chunks(file, size)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason}); convert it first") from error


def texts(source: str | Path | TextIO | Iterable[str | Path]) -> Iterator[str]:
    """All text of `source`, in chunks.

    `source` is the path of a file (str or Path), an open file, or an iterable: its str items are
    texts, each on its own, its Path items files. For parts of one text use `chunks(parts)`.
    """
    if isinstance(source, (str, os.PathLike)):
        source = [Path(source)]
    elif hasattr(source, "read"):
        source = chunks(source)
    for item in source:
        yield from file_chunks(item) if isinstance(item, os.PathLike) else chunks([item])


def well_formed(text: str) -> str:
    """`text` as tiktoken mends it for UTF-8: lone surrogates become U+FFFD, pairs are joined."""
    encoded = utf8(text)
    return text if len(encoded) == len(text) else encoded.decode()


def utf8(text: str) -> bytes:
    """The bytes of `well_formed`."""
    if not isinstance(text, str):
        raise InputError(f"a text must be str, not {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()

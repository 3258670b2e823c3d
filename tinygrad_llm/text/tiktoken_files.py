"""tiktoken's rank files: a line for each token, its bytes in base64, a blank, its rank and id."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import MAX_JSON_BYTES
from tinygrad_llm.text.contents import Contents

_LONGEST = 1024  # bytes of a token: each of its parts is looked up


def read(path: str | Path, pattern: str, special_tokens: Mapping[str, int]) -> Contents:
    """The tokenizer of a rank file; InputError, with the line, where it is malformed.

    tiktoken joins two tokens wherever their bytes are those of a token: each way to cut a token in
    two is a merge here, and all of one token have the same rank.
    """
    ranks = _ranks(Path(path))
    merges = [
        (ranks[token[:cut]], ranks[token[cut:]])
        for token in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    try:
        return Contents("bpe", ranks, dict(special_tokens), merges, pattern, tied=True)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _ranks(path: Path) -> dict[bytes, int]:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_JSON_BYTES:
        raise InputError(f"{path} is larger than {MAX_JSON_BYTES:,} bytes; is it the right file?")
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        token, rank = _entry(path, number, line.split())
        if token in ranks:
            raise InputError(f"{path}, line {number}: the token {token!r:.60} stands there twice")
        ranks[token] = rank
    return ranks


def _entry(path: Path, number: int, words: list[bytes]) -> tuple[bytes, int]:
    try:
        spelling, rank = words
        token = base64.b64decode(spelling, validate=True)
        if not (rank.isdigit() and len(rank) < 10 and 0 < len(token) <= _LONGEST):
            raise ValueError
    except (ValueError, binascii.Error):
        line = b" ".join(words)
        raise InputError(
            f"{path}, line {number}: {line!r:.60} is not a token in base64 and its rank"
        ) from None
    return token, int(rank)

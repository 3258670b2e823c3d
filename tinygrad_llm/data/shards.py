"""A corpus as a folder of token files, written as a stream: tokens-00000.bin, ..., tokens.json.

The index comes last, and without it a folder is no corpus: an unfinished run leaves none.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from tinygrad_llm.config import from_mapping
from tinygrad_llm.data.token_file import TokenFile, id_dtype, write_token_file
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.text import Tokenizer, chunks

INDEX = "tokens.json"
SHARD_TOKENS = 1 << 27  # 256 MB of uint16


@dataclasses.dataclass(frozen=True)
class Index:
    """The content of tokens.json."""

    tokens: int
    bytes: int  # of text, as UTF-8
    vocab_size: int
    tokenizer: str  # its fingerprint
    shards: list  # the SHA-256 of the ids of tokens-00000.bin, tokens-00001.bin, ...


def write_shards(
    texts: Iterable[str],
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    shard_tokens: int = SHARD_TOKENS,
    progress: Callable[[int], object] | None = None,
) -> Index:
    """`write_documents` of one document, whose text is `texts` joined."""
    return write_documents([texts], tokenizer, folder, shard_tokens=shard_tokens, progress=progress)


def write_documents(
    documents: Iterable[Iterable[str]],
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    separator: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    progress: Callable[[int], object] | None = None,
) -> Index:
    """Tokenize documents, each given as the parts of its text, to shards of `shard_tokens` ids.

    separator: an id put after each document, as GPT-2 puts <|endoftext|>: it tells the model that
    what came before has no bearing on what follows. progress: called with the number of bytes of
    text done since the call before. In memory are a chunk of text and its ids, never more.
    InputError for a folder that cannot be written or holds tokens already, and for an empty corpus;
    OSError where the disk is full. No shard stays behind then.
    """
    folder, counted = Path(folder), [0]
    _check_settings(separator, tokenizer.vocab_size, shard_tokens)
    _prepare(folder)

    def count(size: int) -> None:
        counted[0] += size
        if progress is not None:
            progress(size)

    about = {"vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint()}
    try:
        ids = _encode(documents, tokenizer, separator, count)
        headers = [
            write_token_file(folder / _name(number), map(itemgetter(1), pieces), **about)
            for number, pieces in groupby(_cut(ids, shard_tokens), itemgetter(0))
        ]
        if not counted[0]:
            raise InputError("the corpus is empty; name a file that holds text")
        index = Index(
            sum(header.tokens for header in headers),
            counted[0],
            about["vocab_size"],
            about["fingerprint"],
            [header.checksum.hex() for header in headers],
        )
        write_atomic(folder / INDEX, json.dumps(dataclasses.asdict(index), indent=1) + "\n")
    except BaseException:
        _remove_shards(folder)
        raise
    return index


def _check_settings(separator: int | None, vocab_size: int, shard_tokens: int) -> None:
    if separator is not None and not 0 <= separator < vocab_size:
        raise InputError(
            f"separator {separator} is not in the vocabulary, whose ids are 0 to {vocab_size - 1}"
        )
    if shard_tokens < 1:
        raise InputError(f"shards of {shard_tokens} tokens are impossible; give 1 or more")


def _prepare(folder: Path) -> None:
    if (folder / INDEX).exists():
        raise InputError(f"{folder} holds tokens already; remove it or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise InputError(
            f"cannot make the folder {folder}: {error.strerror}; name another"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write into {folder}: permission denied; name another folder")
    _remove_shards(folder)


def _remove_shards(folder: Path) -> None:
    """Remove the shards of a run that did not finish; a killed one leaves a temporary file too."""
    for pattern in ("tokens-?????.bin", ".tokens-?????.bin.*.tmp"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def _name(number: int) -> str:
    return f"tokens-{number:05d}.bin"


def _encode(
    documents: Iterable[Iterable[str]],
    tokenizer: Tokenizer,
    separator: int | None,
    count: Callable[[int], object],
) -> Iterator[np.ndarray]:
    dtype = id_dtype(tokenizer.vocab_size)
    for document in documents:
        for text in chunks(document):
            yield np.array(tokenizer.encode(text), dtype)
            count(len(text.encode("utf-8", "surrogatepass")))
        if separator is not None:
            yield np.array([separator], dtype)


def _cut(arrays: Iterable[np.ndarray], size: int) -> Iterator[tuple[int, np.ndarray]]:
    """(shard number, ids) pairs; none crosses the border between two shards of `size` ids."""
    done = 0
    for ids in arrays:
        while len(ids):
            piece, ids = np.split(ids, [size - done % size])
            yield done // size, piece
            done += len(piece)


def open_tokens(
    path: str | Path, *, tokenizer: Tokenizer | None = None, verify: bool = True
) -> Tokens:
    """The tokens of a folder of shards, of one shard, or of a `.bin` file of nanoGPT.

    tokenizer: the one whose ids these must be. verify: read everything once, about a second per
    GB, for its checksum and for ids outside the vocabulary. InputError, with the file's name, for
    tokens that are missing, unfinished, truncated, damaged or another tokenizer's.
    """
    path = Path(path)
    files = _open_shards(path) if path.is_dir() else [TokenFile(path)]
    for file in files:
        _check_tokenizer(file, tokenizer)
        if verify:
            of_header = file.header.vocab_size if file.header else None
            file.verify(tokenizer.vocab_size if tokenizer else of_header)
    return Tokens(files)


def _open_shards(folder: Path) -> list[TokenFile]:
    index = _read_index(folder)
    files = [TokenFile(folder / _name(number)) for number in range(len(index.shards))]
    for file, checksum in zip(files, index.shards):
        if not file.header or file.header.checksum.hex() != checksum:
            raise InputError(
                f"{file.path} is not the shard that {INDEX} names; tokenize the corpus again"
            )
    tokens = sum(map(len, files))
    if not files or tokens != index.tokens:
        raise InputError(
            f"{folder} holds {tokens:,} tokens where {INDEX} promises "
            f"{index.tokens:,}; tokenize the corpus again"
        )
    return files


def _read_index(folder: Path) -> Index:
    path = folder / INDEX
    if not path.exists():
        raise InputError(
            f"{folder} has no {INDEX}: tokenizing did not finish or never began; "
            "tokenize the corpus, or name a .bin file"
        )
    try:
        return from_mapping(Index, read_json_object(path), where=str(path))
    except TypeError as error:
        raise InputError(f"{path} lacks a key ({error}); tokenize the corpus again") from error


def _check_tokenizer(file: TokenFile, tokenizer: Tokenizer | None) -> None:
    if tokenizer is None or file.header is None:
        return
    stored, given = file.header.fingerprint.hex(), tokenizer.fingerprint()
    if stored != given:
        raise InputError(
            f"{file.path} holds the ids of another tokenizer ({stored[:12]}, not "
            f"{given[:12]}); use that one or tokenize the corpus again"
        )

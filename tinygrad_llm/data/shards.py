"""Tokens on disk: shards of 16- or 32-bit ids with a header, and a view of them that reads what is asked for.

A shard: 8 bytes magic, uint32 version, uint32 bytes per id, uint64 count, 32 bytes SHA-256 of the ids,
32 bytes SHA-256 of the tokenizer, then the ids, little-endian. nanoGPT's .bin, uint16 ids alone, is read too.
Reads go through os.pread: a memory map of a file that someone shortens would kill the process.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.text import Tokenizer, chunks

MAGIC = b"TGLMTOK\0"
HEADER = struct.Struct("<8sIIQ32s32s")
INDEX = "tokens.json"
SHARD_TOKENS = 1 << 24


class Shard(NamedTuple):
    """One file of ids: where they start, their dtype and their number."""

    path: Path
    offset: int
    dtype: np.dtype
    count: int


def write_shards(texts: Iterable[str], tokenizer: Tokenizer, folder: str | Path, *,
                 shard_tokens: int = SHARD_TOKENS) -> None:
    """Tokenize a stream into `folder`/tokens-00000.bin and on; the index, written last, makes it valid.

    Memory: one shard of ids. The ids are those of encoding the whole text at once (see text.chunks).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    names = []
    for number, ids in enumerate(_groups(texts, tokenizer, dtype, shard_tokens)):
        names.append(f"tokens-{number:05d}.bin")
        digest = bytes.fromhex(tokenizer.fingerprint())
        header = HEADER.pack(MAGIC, 1, dtype.itemsize, len(ids), hashlib.sha256(ids).digest(), digest)
        write_atomic(folder / names[-1], lambda path, head=header, ids=ids: _write(path, head, ids))
    write_atomic(folder / INDEX, json.dumps({"version": 1, "shards": names}))


def _groups(texts: Iterable[str], tokenizer: Tokenizer, dtype: np.dtype, size: int) -> Iterator[np.ndarray]:
    buffer, filled = np.empty(size, dtype), 0
    for text in chunks(texts):
        ids = np.array(tokenizer.encode(text), dtype)
        while filled + len(ids) >= size:
            buffer[filled:], ids = ids[:size - filled], ids[size - filled:]
            yield buffer
            filled = 0
        buffer[filled:filled + len(ids)] = ids
        filled += len(ids)
    if filled:
        yield buffer[:filled]


def _write(path: Path, header: bytes, ids: np.ndarray) -> None:
    with open(path, "wb") as file:
        file.write(header)
        file.write(ids.data)


class Tokens:
    """A sequence of ids over one or more files, or over an array: len(), and slices as int64 arrays."""

    def __init__(self, shards: list[Shard], start: int = 0, stop: int | None = None):
        self.shards = shards
        self.ends = list(itertools.accumulate(shard.count for shard in shards))
        self.start, self.stop = start, (self.ends[-1] if shards else 0) if stop is None else stop
        self.array: np.ndarray | None = None

    @classmethod
    def from_array(cls, ids: np.ndarray) -> Tokens:
        """Ids that are in memory already."""
        tokens = cls([], 0, len(ids))
        tokens.array = np.asarray(ids)
        return tokens

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"tokens are read in order; a step of {step} is not offered")
        start, stop = self.start + start, self.start + max(start, stop)
        if self.array is not None:
            return self.array[start:stop].astype(np.int64)
        pieces, first = [], bisect.bisect_right(self.ends, start)
        for shard, end in zip(self.shards[first:], self.ends[first:], strict=True):
            if end - shard.count >= stop:
                break
            begin = end - shard.count
            pieces.append(_read(shard, max(start - begin, 0), min(stop, end) - begin))
        return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, np.int64)

    def split(self, fraction: float) -> tuple[Tokens, Tokens]:
        """(training, validation): the last `fraction` of the tokens is held out."""
        border = self.start + int(len(self) * (1 - fraction))
        parts = Tokens(self.shards, self.start, border), Tokens(self.shards, border, self.stop)
        for part in parts:
            part.array = self.array
        return parts


def _read(shard: Shard, start: int, stop: int) -> np.ndarray:
    size = shard.dtype.itemsize
    with open(shard.path, "rb") as file:
        data = os.pread(file.fileno(), (stop - start) * size, shard.offset + start * size)
    if len(data) != (stop - start) * size:
        raise InputError(f"{shard.path} became shorter while it was read; tokenize the corpus again")
    return np.frombuffer(data, shard.dtype)


def open_tokens(path: str | Path, *, tokenizer: Tokenizer | None = None, verify: bool = True) -> Tokens:
    """The tokens in a folder that write_shards made, or in one .bin file.

    InputError for a shard that is missing, cut short or changed (verify reads it once), that another tokenizer
    made, or that holds an id beyond the vocabulary.
    """
    path = Path(path)
    shards = [_open(file, tokenizer, verify) for file in (_listed(path) if path.is_dir() else [path])]
    return Tokens(shards)


def _listed(folder: Path) -> list[Path]:
    names = read_json_object(folder / INDEX).get("shards")
    if not isinstance(names, list) or not all(isinstance(n, str) and Path(n).name == n for n in names):
        raise InputError(f"{folder / INDEX} does not list shards by name; tokenize the corpus again")
    return [folder / name for name in names]


def _open(path: Path, tokenizer: Tokenizer | None, verify: bool) -> Shard:
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(HEADER.size)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if not start.startswith(MAGIC):
        return _open_headerless(path, size, tokenizer, verify)
    if len(start) < HEADER.size:
        raise InputError(f"{path} is cut short: {size} bytes, less than a header; tokenize the corpus again")
    _, version, width, count, digest, made_by = HEADER.unpack(start)
    if version != 1 or width not in (2, 4):
        raise InputError(f"{path} has version {version} with {width} bytes an id; this program reads version 1")
    if size != HEADER.size + count * width:
        raise InputError(f"{path} has {size:,} bytes, but its header promises {HEADER.size + count * width:,}; "
                         "tokenize the corpus again")
    if tokenizer is not None and made_by.hex() != tokenizer.fingerprint():
        raise InputError(f"{path} was made by another tokenizer; tokenize the corpus again")
    shard = Shard(path, HEADER.size, np.dtype(f"<u{width}"), count)
    if verify and _digest(shard, tokenizer) != digest:
        raise InputError(f"{path} is damaged: its checksum does not fit; tokenize the corpus again")
    return shard


def _open_headerless(path: Path, size: int, tokenizer: Tokenizer | None, verify: bool) -> Shard:
    if size == 0 or size % 2:
        raise InputError(f"{path} has {size} bytes, which is no sequence of 16-bit ids")
    shard = Shard(path, 0, np.dtype("<u2"), size // 2)
    if verify:
        _digest(shard, tokenizer)
    return shard


def _digest(shard: Shard, tokenizer: Tokenizer | None) -> bytes:
    """The checksum of a shard's ids, which are checked against the vocabulary on the way."""
    digest, limit = hashlib.sha256(), None if tokenizer is None else tokenizer.vocab_size
    for start in range(0, shard.count, 1 << 20):
        ids = _read(shard, start, min(start + (1 << 20), shard.count))
        if limit is not None and ids.max(initial=0) >= limit:
            raise InputError(f"{shard.path} holds the id {ids.max()}, but the tokenizer has {limit} tokens")
        digest.update(ids.data)
    return digest.digest()

"""One file of token ids: a header, then the ids as little-endian uint16 or uint32.

    offset  0    8 bytes   magic
    offset  8    uint32    version of the format
    offset 12    uint32    bytes per id: 2 or 4
    offset 16    uint64    number of ids
    offset 24    uint64    vocabulary size, above every id
    offset 32   32 bytes   SHA-256 of the ids
    offset 64   32 bytes   fingerprint of the tokenizer, a SHA-256 too

nanoGPT's `.bin` files, uint16 without a header, are read as well. Nothing here is memory-mapped:
a process that maps a file dies where another one truncates it.
"""

from __future__ import annotations

import hashlib
import os
import struct
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import write_atomic

MAGIC, VERSION = b"tokenids", 1
BLOCK = 1 << 19  # ids
_LAYOUT = struct.Struct("<8sIIQQ32s32s")


class Header(NamedTuple):
    """What a token file says about itself."""

    magic: bytes
    version: int
    width: int
    tokens: int
    vocab_size: int
    checksum: bytes
    fingerprint: bytes


def id_dtype(vocab_size: int) -> np.dtype:
    """The smaller of the two types that holds every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def write_token_file(
    path: Path, arrays: Iterable[np.ndarray], *, vocab_size: int, fingerprint: str
) -> Header:
    """Write all `arrays`, of `id_dtype(vocab_size)`, as one file that is whole or not there."""
    digest, tokens = hashlib.sha256(), 0

    def header() -> Header:
        return Header(
            MAGIC,
            VERSION,
            id_dtype(vocab_size).itemsize,
            tokens,
            vocab_size,
            digest.digest(),
            bytes.fromhex(fingerprint),
        )

    def write(temporary: Path) -> None:
        nonlocal tokens
        with open(temporary, "wb") as file:
            file.seek(_LAYOUT.size)
            for ids in arrays:
                file.write(ids)
                digest.update(ids)
                tokens += len(ids)
            file.seek(0)
            file.write(_LAYOUT.pack(*header()))

    write_atomic(path, write)
    return header()


class TokenFile:
    """The ids of one file, read where a slice asks for them; threads may share it.

    The file stays open, so one that takes its name later does not mix with it. header: None for a
    file of nanoGPT. InputError for a file that is missing, truncated or neither of the two.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(f"{path} is not a file; check the path or tokenize the corpus again")
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        weakref.finalize(self, os.close, self._handle)
        size = os.fstat(self._handle).st_size
        self.header = self._read_header(size)
        self._dtype = np.dtype(f"<u{self.header.width}" if self.header else "<u2")
        self._offset = _LAYOUT.size if self.header else 0
        self._length = (size - self._offset) // self._dtype.itemsize

    def _read_header(self, size: int) -> Header | None:
        start = os.pread(self._handle, _LAYOUT.size, 0)
        if not size or not start.startswith(MAGIC[: len(start)]):
            self._check_headerless(size)
            return None
        if size < _LAYOUT.size:
            raise self._truncated(size, _LAYOUT.size, "a header alone has")
        header = Header(*_LAYOUT.unpack(start))
        if header.version != VERSION or header.width not in (2, 4):
            raise InputError(
                f"{self.path} has the format {header.version} and {header.width} "
                f"bytes per id; {VERSION} and 2 or 4 are read: tokenize the corpus "
                "again"
            )
        promised = _LAYOUT.size + header.tokens * header.width
        if size != promised:
            raise self._truncated(size, promised, "its header promises")
        return header

    def _check_headerless(self, size: int) -> None:
        if not size:
            raise InputError(f"{self.path} is empty; tokenize the corpus again")
        if self.path.suffix != ".bin" or size % 2:
            raise InputError(
                f"{self.path} ({size:,} bytes) is neither a token file nor a .bin "
                "file of nanoGPT, which holds uint16 ids; tokenize the text first"
            )

    def _truncated(self, size: int, promised: int, whose: str) -> InputError:
        return InputError(
            f"{self.path} has {size:,} bytes where {whose} {promised:,}: it is "
            "truncated or damaged; tokenize the corpus again"
        )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, span: slice) -> np.ndarray:
        """The ids of `span`, a slice without a step, (n,) as stored."""
        start, stop, _ = span.indices(len(self))
        width, read = self._dtype.itemsize, bytearray()
        first, wanted = self._offset + start * width, max(stop - start, 0) * width
        while len(read) < wanted:  # the system gives at most 2 GB at a time
            block = os.pread(self._handle, wanted - len(read), first + len(read))
            if not block:
                raise self._truncated(first + len(read), first + wanted, "it once had at least")
            read += block
        return np.frombuffer(read, self._dtype)

    def verify(self, vocab_size: int | None) -> None:
        """Read it all: InputError for an id not below `vocab_size` or ids of another checksum."""
        digest = hashlib.sha256()
        for start in range(0, len(self), BLOCK):
            ids = self[start : start + BLOCK]
            digest.update(ids)
            if vocab_size is not None and (largest := ids.max()) >= vocab_size:
                raise InputError(
                    f"{self.path} holds the id {largest}, but the vocabulary has "
                    f"{vocab_size:,}; use its tokenizer or tokenize the corpus again"
                )
        if self.header and digest.digest() != self.header.checksum:
            raise InputError(
                f"{self.path} is damaged: its ids do not have the checksum in its "
                "header; tokenize the corpus again"
            )

"""GGUF files: metadata and tensors in one file, little-endian, versions 2 and 3.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is checked against the bytes
that remain before anything is read or allocated: 51 bytes can promise an array of 2^63 numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.gguf_tensors import KINDS, Stored, kind_of
from tinygrad_llm.tensor_files import Entry

MAGIC, VERSIONS = b"GGUF", (2, 3)
ALIGNMENT, DEFAULT_ALIGNMENT = "general.alignment", 32
MAX_DIMENSIONS, MAX_NAME = 4, 63  # as in ggml
MAX_KEY = 65_535  # bytes, as in the specification
MAX_TEXT = 16 << 20  # bytes of one text; the longest there are, chat templates, have some thousand
MAX_ITEMS = 4 << 20  # of an array; the largest vocabularies have 300,000
MAX_HEADER = 256 << 20  # bytes; metadata of the largest vocabularies takes 20 MB
MAX_BYTES = 1 << 56  # of a tensor
UINT8, UINT32, BOOL, STRING, ARRAY = 0, 4, 7, 8, 9
NUMBERS = {  # types of metadata by number
    number: np.dtype(code)
    for number, code in {
        **{UINT8: "u1", 1: "i1", 2: "<u2", 3: "<i2", UINT32: "<u4", 5: "<i4", 6: "<f4", BOOL: "u1"},
        **{10: "<u8", 11: "<i8", 12: "<f8"},
    }.items()
}


class Header(NamedTuple):
    """What a file says of itself.

    metadata: numbers, texts and bools; arrays as NumPy arrays or lists of texts. entries: the
    tensors' kinds, shapes (rows first, as in NumPy) and places in the file.
    """

    version: int
    metadata: dict[str, Any]
    entries: dict[str, Entry]


def read_header(path: str | Path) -> Header:
    """The header alone; the tensors' own bytes may be missing. InputError where it is damaged."""
    with _open(Path(path)) as file:
        return _read_header(Path(path), file)


@contextmanager
def open_gguf(path: str | Path) -> Iterator[GGUFFile]:
    """The file, checked to its last byte and open, so that its tensors can be read one by one."""
    with _open(Path(path)) as file:
        yield GGUFFile(Path(path), file)


class GGUFFile:
    """An open file. metadata and entries as in Header."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self._file = path, file
        _, self.metadata, self.entries = _read_header(path, file)
        size = os.fstat(file.fileno()).st_size
        for name, entry in self.entries.items():
            if entry.end > size:
                raise InputError(
                    f"cannot read {path}: {name!r:.80} ends at byte {entry.end:,}, but the file "
                    f"has {size:,}; copy it again"
                )

    def stored(self, name: str) -> Stored:
        """A tensor as it is stored, new in memory."""
        entry = self.entries[name]
        kind = KINDS[entry.dtype]
        blocks = np.empty((*entry.shape[:-1], entry.shape[-1] // kind.size), kind.dtype)
        self._file.seek(entry.start)
        if self._file.readinto(blocks.reshape(-1).view(np.uint8)) != blocks.nbytes:
            raise InputError(f"{self.path} was cut short while {name!r} was read; copy it again")
        return Stored(entry.dtype, blocks)

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32."""
        return self.stored(name).dequantize()


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        if not path.is_file():  # a pipe would block
            raise InputError(f"cannot read {path}: it is missing, or not a regular file")
        file = open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    with file:
        yield file


def _read_header(path: Path, file: BinaryIO) -> Header:
    try:
        reader = _Reader(file)
        version, tensors, keys = _read_start(reader)
        metadata = _read_metadata(reader, keys)
        alignment = metadata.get(ALIGNMENT, DEFAULT_ALIGNMENT)
        return Header(version, metadata, _read_entries(reader, tensors, alignment))
    except InputError as reason:
        raise InputError(f"cannot read {path}: {reason}") from None


class _Reader:
    """The bytes of the header, in their order, never more than there are."""

    def __init__(self, file: BinaryIO):
        self._file, self.position = file, 0
        self._end = min(os.fstat(file.fileno()).st_size, MAX_HEADER)

    @property
    def left(self) -> int:
        return self._end - self.position

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise InputError(
                f"its header needs {length:,} bytes more at byte {self.position:,}, "
                f"where {self.left:,} are left; copy it again"
            )
        self.position += length
        return self._file.read(length)

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def uint64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self, limit: int, what: str) -> str:
        length = self.uint64()
        if length > limit:
            raise InputError(f"{what} of {length:,} bytes is longer than {limit:,}")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{what} at byte {self.position:,} is not UTF-8") from error

    def count(self, least: int, limit: int, what: str) -> int:
        """A number of things that take `least` bytes or more each."""
        count = self.uint64()
        if count > min(self.left // least, limit):
            raise InputError(f"it promises {count:,} {what}, but has {self.left:,} bytes left")
        return count


def _read_start(reader: _Reader) -> tuple[int, int, int]:
    """Version, number of tensors, number of keys."""
    if (magic := reader.take(4)) != MAGIC:
        raise InputError(f"it begins with {magic!r}, not with {MAGIC!r}, so it is no GGUF file")
    version = reader.uint32()
    if version not in VERSIONS:
        raise InputError(f"its version is {version}; read are {' and '.join(map(str, VERSIONS))}")
    return version, reader.count(33, 1 << 16, "tensors"), reader.count(14, 1 << 16, "keys")


def _read_metadata(reader: _Reader, keys: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        key, kind = reader.text(MAX_KEY, "a key"), reader.uint32()
        if not key or key in metadata:
            raise InputError(f"the key {key!r:.80} is empty, or stands there twice")
        metadata[key] = _read_value(reader, key, kind)
        if key == ALIGNMENT:
            _check_alignment(kind, metadata[key])
    return metadata


def _read_value(reader: _Reader, key: str, kind: int) -> Any:
    if kind == STRING:
        return reader.text(MAX_TEXT, f"the text of {key!r:.80}")
    if kind == ARRAY:
        return _read_array(reader, key)
    return _read_numbers(reader, key, kind, 1)[0].item()


def _read_array(reader: _Reader, key: str) -> np.ndarray | list[str]:
    kind = reader.uint32()
    if kind == STRING:
        count = reader.count(8, MAX_ITEMS, f"texts for {key!r:.80}")
        return [reader.text(MAX_TEXT, f"a text of {key!r:.80}") for _ in range(count)]
    count = reader.count(1, MAX_ITEMS, f"numbers for {key!r:.80}")
    return _read_numbers(reader, key, kind, count)


def _read_numbers(reader: _Reader, key: str, kind: int, count: int) -> np.ndarray:
    if kind not in NUMBERS:
        raise InputError(f"the value of {key!r:.80} has the unknown type {kind}")
    numbers = np.frombuffer(reader.take(count * NUMBERS[kind].itemsize), NUMBERS[kind])
    if kind != BOOL:
        return numbers
    if np.any(numbers > 1):
        raise InputError(f"the value of {key!r:.80} is neither true nor false")
    return numbers.astype(bool)


def _check_alignment(kind: int, value: Any) -> None:
    if kind != UINT32 or value < 1 or value & (value - 1):
        raise InputError(f"{ALIGNMENT} is {value!r:.40}; it must be a power of 2, as uint32")


def _read_entries(reader: _Reader, tensors: int, alignment: int) -> dict[str, Entry]:
    """The table of tensors; its offsets count from the data, which begins behind the table."""
    table: dict[str, Entry] = {}
    end = 0
    for _ in range(tensors):
        name = reader.text(MAX_NAME, "a tensor's name")
        if name in table:
            raise InputError(f"the tensor {name!r} stands there twice")
        try:
            table[name] = _read_entry(reader, end, alignment)
        except InputError as error:
            raise InputError(f"the tensor {name!r} {error}") from None
        end = table[name].end
    data = _padded(reader.position, alignment)
    return {
        name: entry._replace(start=data + entry.start, end=data + entry.end)
        for name, entry in table.items()
    }


def _read_entry(reader: _Reader, least: int, alignment: int) -> Entry:
    """One row of the table. least: where the tensor before it ends."""
    dimensions = reader.uint32()
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise InputError(f"has {dimensions} dimensions; there are 1 to {MAX_DIMENSIONS}")
    shape = tuple(reader.uint64() for _ in range(dimensions))[::-1]
    name = kind_of(reader.uint32())
    kind, offset = KINDS[name], reader.uint64()
    if math.prod(max(n, 1) for n in shape) * kind.dtype.itemsize > MAX_BYTES:
        raise InputError(f"of shape {shape} is no array that fits in memory")
    if shape[-1] % kind.size:
        raise InputError(f"has rows of {shape[-1]} numbers, but {name} has blocks of {kind.size}")
    if offset % alignment or offset < least:
        raise InputError(
            f"begins at {offset:,}, which is not a multiple of {alignment}, or below {least:,}, "
            "where the one before it ends"
        )
    size = math.prod(shape) // kind.size * kind.dtype.itemsize
    return Entry(name, shape, offset, offset + size)


def _padded(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment

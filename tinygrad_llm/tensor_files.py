"""safetensors files: eight bytes of length, a JSON header, then the bytes of each tensor.

https://github.com/huggingface/safetensors, "Format". The package of that name writes wrong values
for arrays that are not contiguous, hides which system error stopped it, and reads no bfloat16.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import parse_json, write_atomic
from tinygrad_llm.progress import Progress

MAX_HEADER = 100_000_000  # bytes, as in the specification
MAX_DIMENSIONS = 32
METADATA = "__metadata__"
_DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "BF16": "<u2",
        "BOOL": "?",
        "I64": "<i8",
        "I32": "<i4",
        "I16": "<i2",
        "I8": "i1",
        "U64": "<u8",
        "U32": "<u4",
        "U16": "<u2",
        "U8": "u1",
    }.items()
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    *,
    progress: Progress | None = None,
) -> None:
    """Replace the file `path` in one step by one that holds these arrays, of any layout, and texts.

    progress is told of arrays. Raises OSError where the disk is full or the folder not writable;
    the old file then stays.
    """
    names = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)  # so all are aligned
    header: dict[str, Any] = {METADATA: _checked_texts(dict(metadata))} if metadata else {}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": _dtype_name(name, tensors[name]),
            "shape": tensors[name].shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for done, name in enumerate(names, 1):
                dtype = tensors[name].dtype.newbyteorder("<")
                dense = np.asarray(tensors[name], dtype, order="C")
                file.write(dense.reshape(-1).view(np.uint8))
                if progress:
                    progress("writing", done, len(names))

    write_atomic(path, write)


def _dtype_name(name: str, array: np.ndarray) -> str:
    if name == METADATA:
        raise InputError(f"{METADATA} is no name for a tensor: the format keeps it for texts")
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NAMES:
        raise InputError(f"tensor {name!r} is {array.dtype}, which safetensors cannot hold")
    return _NAMES[dtype]


def load_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All arrays of a file, and its texts; InputError where it is missing or damaged."""
    with open_tensors(path) as tensors:
        return {name: tensors.read(name) for name in tensors.entries}, tensors.metadata


@contextmanager
def open_tensors(path: str | Path) -> Iterator[TensorFile]:
    """The file, checked and open, so that its arrays can be read one at a time."""
    path = Path(path)
    try:
        if not path.is_file():  # a pipe would block
            raise InputError(f"cannot read {path}: it is missing, or not a regular file")
        file = open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    with file:
        yield TensorFile(path, file)


class Entry(NamedTuple):
    """A tensor: its dtype as the format calls it, its shape, where it begins and where it ends."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class TensorFile:
    """An open file, its header checked against its size. entries: by name; metadata: its texts."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self._file = path, file
        size = os.fstat(file.fileno()).st_size
        try:
            header, start = _read_header(file, size)
            self.metadata = _checked_texts(header.pop(METADATA, {}))
            self.entries = {name: _entry(name, fields, start) for name, fields in header.items()}
            _check_layout(self.entries, start, size)
        except InputError as reason:
            raise self._damaged(reason) from None

    def read(self, name: str) -> np.ndarray:
        """One array, new; bfloat16 comes as float32, which holds all its values."""
        entry = self.entries[name]
        array = np.empty(entry.shape, _DTYPES[entry.dtype])
        self._file.seek(entry.start)
        if self._file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:
            raise self._damaged(f"it was cut short while {name!r} was read")
        if entry.dtype == "BF16":
            return bfloat16_as_float32(array)
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _damaged(self, reason: object) -> InputError:
        return InputError(
            f"{self.path} is not a whole safetensors file: {reason}; copy it again or save it anew"
        )


def bfloat16_as_float32(numbers: np.ndarray) -> np.ndarray:
    """Numbers whose 16 bits are the upper half of those of a float32."""
    wide = numbers.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header's object, and where in the file the data begins."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, MAX_HEADER):
        raise InputError(f"it has {size:,} bytes, its header {length:,}")
    header = parse_json(file.read(length), "its header")
    if not isinstance(header, dict):
        raise InputError("its header is not a JSON object")
    return header, 8 + length


def _checked_texts(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(t, str) for t in metadata.values()):
        raise InputError(f"{METADATA} holds something other than texts")
    return metadata


def _entry(name: str, fields: Any, data_start: int) -> Entry:
    """One tensor of the header, with every number checked before anything is allocated."""
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"{name!r:.80} has not exactly dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise InputError(f"{name!r:.80} has dtype {dtype!r:.40}; known are {', '.join(_DTYPES)}")
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise InputError(f"{name!r:.80} has shape {shape!r:.80} and offsets {offsets!r:.80}")
    if len(shape) > MAX_DIMENSIONS or math.prod(max(n, 1) for n in shape) >= 2**56:
        raise InputError(f"{name!r:.80} of shape {shape!r:.80} is no array that fits in memory")
    needed = math.prod(shape) * _DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != needed:
        raise InputError(
            f"{name!r:.80} of shape {shape!r:.80} needs {needed:,} bytes, "
            f"but has those from {offsets[0]:,} to {offsets[1]:,}"
        )
    return Entry(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _are_sizes(values: object) -> bool:
    return isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)


def _check_layout(entries: Mapping[str, Entry], start: int, size: int) -> None:
    """The tensors follow each other without a gap or an overlap, up to the end of the file."""
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.start != start:
            raise InputError(f"{name!r:.80} begins at byte {entry.start:,}, but {start:,} is next")
        start = entry.end
    if start != size:
        raise InputError(f"its tensors end at byte {start:,}, but it has {size:,}")

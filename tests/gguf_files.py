"""GGUF files made from nothing: whole ones, and the 33 classes that llama.cpp's own tests name.

Every part of a file can be given wrongly. What is right stands in the specification:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np

FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9
TYPES = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 8: (32, 34)}  # numbers, bytes
HUGE = 2**64 - 1


class Key(NamedTuple):
    name: str | bytes
    kind: int
    value: object
    items: int | None = None  # the kind of an array's items


class Tensor(NamedTuple):
    name: str
    sizes: tuple[int, ...]  # the fastest axis first, as the file has them
    kind: int
    data: bytes


def text(value, length=None):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data) if length is None else length) + data


def scalar(kind, value):
    return text(value) if kind == STRING else struct.pack("<" + FORMATS[kind], value)


def key_bytes(key, name_length=None):
    start = text(key.name, name_length) + struct.pack("<I", key.kind)
    if key.kind == ARRAY:
        items = b"".join(scalar(key.items, value) for value in key.value)
        return start + struct.pack("<IQ", key.items, len(key.value)) + items
    if key.kind not in FORMATS and key.kind != STRING:
        return start + b"\0"
    return start + scalar(key.kind, key.value)


def padding(data, alignment):
    return b"\0" * (-len(data) % alignment)


def table_row(tensor, place, wrong):
    right = {"dimensions": len(tensor.sizes), "offset": place} | tensor._asdict()
    row = right | wrong
    sizes = struct.pack(f"<{len(row['sizes'])}Q", *row["sizes"])
    start = text(row["name"]) + struct.pack("<I", row["dimensions"])
    return start + sizes + struct.pack("<IQ", row["kind"], row["offset"])


def gguf(
    keys=(),
    tensors=(),
    *,
    magic=b"GGUF",
    version=3,
    n_keys=None,
    n_tensors=None,
    name_length=None,
    alignment=32,
    step=None,
    with_data=True,
    **wrong,
):
    """The bytes of a file. step: to which multiple each tensor begins, the alignment unless given;
    wrong: what stands in every row of the table instead of the truth.
    """
    step = step or alignment
    counts = [len(tensors) if n_tensors is None else n_tensors, n_keys]
    counts[1] = len(keys) if n_keys is None else n_keys
    header = magic + struct.pack("<IQQ", version, *counts)
    header += b"".join(key_bytes(key, name_length) for key in keys)
    data = b""
    for tensor in tensors:
        header += table_row(tensor, len(data), wrong)
        data += tensor.data + padding(tensor.data, step)
    header += padding(header, alignment)
    return header + (data if with_data else b"")


def random_keys(rng, count=40):
    kinds = [*FORMATS, STRING, ARRAY]
    keys = []
    for i in range(count):
        kind = int(rng.choice(kinds))
        items = int(rng.choice(kinds[:-1])) if kind == ARRAY else None
        length = int(rng.integers(20))
        if kind == ARRAY:
            value = [random_value(rng, items) for _ in range(length)]
        else:
            value = random_value(rng, kind)
        keys.append(Key(f"my_key_{i}", kind, value, items))
    return keys


def random_value(rng, kind):
    if kind == STRING:
        return "".join(chr(n) for n in rng.integers(1, 0x2000, int(rng.integers(16))))
    if kind == 7:
        return bool(rng.integers(2))
    size = struct.calcsize(FORMATS[kind])
    if FORMATS[kind] in "fd":
        return struct.unpack("<f", struct.pack("<f", rng.standard_normal()))[0]
    return struct.unpack("<" + FORMATS[kind], rng.bytes(size))[0]


def random_tensors(rng, count=20):
    tensors = []
    for i in range(count):
        kind = int(rng.choice(list(TYPES)))
        numbers, size = TYPES[kind]
        sizes = [int(rng.integers(1, 10)) * numbers]
        sizes += [int(n) for n in rng.integers(1, 6, int(rng.integers(4)))]
        tensors.append(Tensor(f"my_tensor_{i}", tuple(sizes), kind, b""))
    return [t._replace(data=numbered(nbytes(t))) for t in tensors]


def nbytes(tensor):
    numbers, size = TYPES[tensor.kind]
    return math.prod(tensor.sizes) // numbers * size


def numbered(length):
    return bytes(i % 256 for i in range(length))


def aligned_key(value, kind=4):
    return Key("general.alignment", kind, value)


def classes(seed):
    """name -> (bytes, whether it loads). Names as in llama.cpp's tests/test-gguf.cpp."""
    rng = np.random.default_rng(seed)
    keys, tensors = random_keys(rng), random_tensors(rng)
    doubled = [key._replace(name=f"my_key_{i // 2}") for i, key in enumerate(keys)]
    unknown = [key._replace(kind=13) for key in keys]
    flat = [t._replace(sizes=(t.sizes[0], 0), data=b"") for t in tensors]
    wide = [t._replace(sizes=(4 * (2**31 - 1),) * 2) for t in tensors]
    heavy = [t._replace(sizes=(2**31, 2**30), kind=0) for t in tensors]
    huge = [Tensor(f"my_tensor_{i}", (0x7FFFFFFFFFFFFFC0,), 0, b"\0" * 16) for i in range(2)]
    long = "my_tensor_with_a_very_long_name_which_is_longer_than_what_ggml_allows"
    skewed = sorted(tensors, key=lambda t: nbytes(t) % 32 == 0)  # padding is needed at once
    header = {
        "HEADER_BAD_MAGIC": gguf(magic=b"FUGG"),
        "HEADER_BAD_VERSION_0": gguf(version=0),
        "HEADER_BAD_VERSION_1": gguf(version=1),
        "HEADER_BAD_VERSION_FUTURE": gguf(version=4),
        "HEADER_BAD_N_KV": gguf(n_keys=HUGE),
        "HEADER_BAD_N_TENSORS": gguf(n_tensors=HUGE),
        "HEADER_EMPTY": gguf(),
        "KV_BAD_KEY_SIZE": gguf(keys, name_length=HUGE),
        "KV_EMPTY_KEY": gguf([key._replace(name="") for key in keys]),
        "KV_BAD_TYPE": gguf(unknown),
        "KV_DUPLICATE_KEY": gguf(doubled),
        "KV_BAD_ALIGN": gguf([*keys, aligned_key(13)]),
        "KV_WRONG_TYPE_ALIGN": gguf([*keys, aligned_key(13, kind=5)]),
        "KV_SUCCESS": gguf(keys),
        "TENSORS_BAD_NAME_SIZE": gguf(keys, tensors, name=long, with_data=False),
        "TENSORS_BAD_N_DIMS": gguf(keys, tensors, dimensions=5, with_data=False),
        "TENSORS_BAD_SHAPE": gguf(keys, tensors, sizes=(HUGE,), dimensions=1, with_data=False),
        "TENSORS_ZERO_DIM": gguf(keys, flat, with_data=False),
        "TENSORS_NE_TOO_BIG": gguf(keys, wide, with_data=False),
        "TENSORS_NBYTES_TOO_BIG": gguf(keys, heavy, with_data=False),
        "TENSORS_BAD_TYPE": gguf(keys, tensors, kind=99, with_data=False),
        "TENSORS_BAD_OFFSET": gguf(keys, tensors, offset=HUGE, with_data=False),
        "TENSORS_DUPLICATE_NAME": gguf(keys, tensors, name="my_tensor", with_data=False),
        "TENSORS_BAD_ALIGN": gguf([*keys, aligned_key(13)], tensors, with_data=False),
        "TENSORS_INCONSISTENT_ALIGN": gguf(keys, skewed, step=1, with_data=False),
        "TENSORS_SUCCESS": gguf(keys, tensors, with_data=False),
        "TENSORS_CUSTOM_ALIGN": gguf(
            [*keys, aligned_key(1)], tensors, alignment=1, with_data=False
        ),
        "DATA_NOT_ENOUGH_DATA": gguf([*keys, aligned_key(1)], tensors, alignment=1)[:-1],
        "DATA_BAD_ALIGN": gguf([*keys, aligned_key(13)], tensors),
        "DATA_INCONSISTENT_ALIGN": gguf(keys, skewed, step=1),
        "DATA_MEM_SIZE_OVERFLOW": gguf(keys, huge),
        "DATA_SUCCESS": gguf(keys, tensors),
        "DATA_CUSTOM_ALIGN": gguf([*keys, aligned_key(1)], tensors, alignment=1),
    }
    loads = {
        *("HEADER_EMPTY", "KV_SUCCESS", "TENSORS_ZERO_DIM", "TENSORS_SUCCESS"),
        *("TENSORS_CUSTOM_ALIGN", "DATA_SUCCESS", "DATA_CUSTOM_ALIGN"),
    }
    return {name: (data, name in loads) for name, data in header.items()}

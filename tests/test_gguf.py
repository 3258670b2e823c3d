"""GGUF files: the classes of llama.cpp's own tests, bombs, and beside the package of that name."""

import struct
import time
import tracemalloc

import numpy as np
import pytest

from tests.gguf_files import (
    HUGE,
    Key,
    Tensor,
    aligned_key,
    classes,
    gguf,
    key_bytes,
    numbered,
    random_keys,
    random_tensors,
    text,
)
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.gguf import open_gguf, read_header

CLASSES = list(classes(0))
F32 = Tensor("t0", (8,), 0, numbered(32))


def write(tmp_path, data):
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return path


def read(name, path):
    """As llama.cpp's tests do: the tensors' own bytes matter to the last group alone."""
    if not name.startswith("DATA"):
        return read_header(path)
    with open_gguf(path) as file:
        for tensor in file.entries:
            file.read(tensor)
        return file


def test_there_are_33_classes_of_which_7_load():
    assert len(CLASSES) == 33 and sum(loads for _, loads in classes(0).values()) == 7


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_of_llama_cpp(name, tmp_path):
    for seed in range(5):
        data, loads = classes(seed)[name]
        path = write(tmp_path, data)
        if loads:
            read(name, path)
        else:
            with pytest.raises(InputError, match=r"cannot read .*model\.gguf: "):
                read(name, path)


@pytest.mark.parametrize(
    "name, says",
    [
        ("HEADER_BAD_MAGIC", "b'FUGG'"),
        ("HEADER_BAD_VERSION_FUTURE", "version is 4; read are 2 and 3"),
        ("HEADER_BAD_N_KV", f"{HUGE:,} keys"),
        ("HEADER_BAD_N_TENSORS", f"{HUGE:,} tensors"),
        ("KV_BAD_KEY_SIZE", f"a key of {HUGE:,} bytes"),
        ("KV_EMPTY_KEY", "the key '' is empty"),
        ("KV_BAD_TYPE", "'my_key_0' has the unknown type 13"),
        ("KV_DUPLICATE_KEY", "'my_key_0' is empty, or stands there twice"),
        ("KV_BAD_ALIGN", "general.alignment is 13"),
        ("TENSORS_BAD_NAME_SIZE", "longer than 63"),
        ("TENSORS_BAD_N_DIMS", "5 dimensions"),
        ("TENSORS_NE_TOO_BIG", "no array that fits"),
        ("TENSORS_BAD_TYPE", "type number 99; read are F32"),
        ("TENSORS_BAD_OFFSET", f"begins at {HUGE:,}"),
        ("TENSORS_DUPLICATE_NAME", "'my_tensor' stands there twice"),
        ("TENSORS_INCONSISTENT_ALIGN", "not a multiple of 32"),
        ("DATA_NOT_ENOUGH_DATA", "ends at byte"),
    ],
)
def test_the_error_says_what_is_wrong(name, says, tmp_path):
    with pytest.raises(InputError) as caught:
        read(name, write(tmp_path, classes(0)[name][0]))
    assert says in str(caught.value)


def test_what_was_written_is_read(tmp_path):
    rng = np.random.default_rng(3)
    keys, tensors = random_keys(rng), random_tensors(rng)
    with open_gguf(write(tmp_path, gguf(keys, tensors, version=2))) as file:
        assert list(file.metadata) == [key.name for key in keys]
        for key in keys:
            found = file.metadata[key.name]
            assert (found.tolist() if isinstance(found, np.ndarray) else found) == key.value
        for tensor in tensors:
            stored = file.stored(tensor.name)
            assert stored.shape == tensor.sizes[::-1] == file.entries[tensor.name].shape
            assert stored.blocks.tobytes() == tensor.data


def test_the_package_gguf_reads_the_same(tmp_path):
    oracle = pytest.importorskip("gguf", reason="pip install gguf")
    rng = np.random.default_rng(4)
    path = write(tmp_path, gguf(random_keys(rng), random_tensors(rng)))
    theirs = oracle.GGUFReader(path)
    with open_gguf(path) as file:
        assert list(file.entries) == [tensor.name for tensor in theirs.tensors]
        for key, value in file.metadata.items():
            found = theirs.fields[key].contents()
            assert (value.tolist() if isinstance(value, np.ndarray) else value) == found
        for tensor in theirs.tensors:
            with np.errstate(all="ignore"):
                expected = oracle.dequantize(tensor.data, tensor.tensor_type)
            np.testing.assert_array_equal(file.read(tensor.name), expected)


@pytest.mark.parametrize("offset, loads", [(32, True), (96, True), (48, False), (0, False)])
def test_a_gap_between_tensors_is_allowed_where_it_is_aligned(offset, loads, tmp_path):
    data = gguf(tensors=[F32, F32._replace(name="t1")])
    place = data.index(b"t1") + 2 + 4 + 8 + 4  # behind name, dimensions, size and kind
    data = data[:place] + struct.pack("<Q", offset) + data[place + 8 :] + numbered(64)
    path = write(tmp_path, data)
    if loads:
        with open_gguf(path) as file:
            assert file.entries["t1"].start - file.entries["t0"].start == offset
    else:
        with pytest.raises(InputError, match="'t1' begins at"):
            read_header(path)


def test_a_type_that_is_not_read_is_refused_by_name(tmp_path):
    for number, name in [(12, "Q4_K"), (14, "Q6_K"), (28, "F64"), (20, "IQ4_NL"), (39, "MXFP4")]:
        with pytest.raises(InputError, match=f"'t0' has the type {name}; read are F32, F16, BF16"):
            read_header(write(tmp_path, gguf(tensors=[F32], kind=number)))


ONE_KEY = gguf(n_keys=1)[:24] + text("abc")
BOMBS = {
    "51 bytes": ONE_KEY + struct.pack("<IIQ", 9, 0, 2**63),
    "texts": ONE_KEY + struct.pack("<IIQ", 9, 8, 2**40) + b"\0" * 1000,
    "an array of arrays": ONE_KEY + struct.pack("<IIQ", 9, 9, 2) + b"\0" * 99,
    "a text": ONE_KEY + struct.pack("<IQ", 8, 2**62),
    "a tensor": gguf(tensors=[F32], sizes=(2**40,)),
    "keys": gguf(n_keys=2**32) + b"\0" * 10_000,
    "a bool of 2": gguf([Key("abc", 0, 2)]).replace(
        key_bytes(Key("abc", 0, 2)), text("abc") + struct.pack("<IB", 7, 2)
    ),
    "no UTF-8": gguf([Key(b"\xff\xfe", 0, 1)]),
    "big-endian": gguf(version=3 << 24),
    "alignment 0": gguf([aligned_key(0)]),
    "alignment as text": gguf([aligned_key("32", kind=8)]),
    "rows that are no blocks": gguf(tensors=[F32], kind=3),
    "no dimensions": gguf(tensors=[F32], dimensions=0, sizes=()),
    "nothing": b"",
    "five bytes": b"GGUF\3",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_nothing(name, tmp_path):
    assert name != "51 bytes" or len(BOMBS[name]) == 51
    path = write(tmp_path, BOMBS[name])
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(InputError, match="cannot read"), open_gguf(path):
        pass
    assert time.monotonic() - start < 2 and tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("place", ["missing", "folder"])
def test_a_path_that_is_no_file_is_an_error(place, tmp_path):
    path = tmp_path / "x" if place == "missing" else tmp_path
    with pytest.raises(InputError, match="missing, or not a regular file"):
        read_header(path)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    path = write(tmp_path, gguf(tensors=[Tensor("t0", (2**18,), 0, bytes(2**20))]))
    with open_gguf(path) as file:
        path.write_bytes(b"")
        with pytest.raises(InputError, match="cut short"):
            file.read("t0")

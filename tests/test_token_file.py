"""token_file.py: ids come back as written, and a file that is not whole says so."""

import gc
import os
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygrad_llm.data import token_file
from tinygrad_llm.data.token_file import TokenFile, id_dtype, write_token_file
from tinygrad_llm.errors import InputError

HASH = "ab" * 32


def write(path, ids, vocab_size=50_257):
    arrays = np.array_split(np.array(ids, id_dtype(vocab_size)), 3)
    return write_token_file(path, arrays, vocab_size=vocab_size, fingerprint=HASH)


@pytest.fixture
def file(tmp_path):
    write(tmp_path / "t.bin", range(1000))
    return tmp_path / "t.bin"


def test_the_layout_is_what_the_docstring_says(tmp_path):
    header = write(tmp_path / "t.bin", [1, 2, 65_535], 65_536)
    content = (tmp_path / "t.bin").read_bytes()
    assert content[:32] == b"tokenids" + struct.pack("<IIQQ", 1, 2, 3, 65_536)
    assert content[32:64] == header.checksum and content[64:96] == bytes.fromhex(HASH)
    assert content[96:] == b"\1\0\2\0\xff\xff"


@pytest.mark.parametrize("vocab_size, dtype", [(65_536, "<u2"), (65_537, "<u4")])
def test_ids_take_two_bytes_where_they_can(tmp_path, vocab_size, dtype):
    ids = np.arange(vocab_size - 9, vocab_size)
    write(tmp_path / "t.bin", ids, vocab_size)
    stored = TokenFile(tmp_path / "t.bin")
    assert stored[:].dtype == np.dtype(dtype) and np.array_equal(stored[:], ids)


def test_slices_are_those_of_the_array(file):
    stored, ids = TokenFile(file), np.arange(1000)
    for span in (slice(0, 0), slice(3, 7), slice(990, 2000), slice(-5, None), slice(7, 3)):
        assert np.array_equal(stored[span], ids[span])


def test_the_files_of_nanogpt_are_read(tmp_path):
    np.arange(500, dtype=np.uint16).tofile(tmp_path / "train.bin")
    stored = TokenFile(tmp_path / "train.bin")
    assert stored.header is None and np.array_equal(stored[:], np.arange(500))
    stored.verify(500)
    with pytest.raises(InputError, match="holds the id 499, but the vocabulary has 499"):
        stored.verify(499)


@pytest.mark.parametrize("size", [5, 95, 96, 97, 1000, 2095])
def test_a_truncated_file_names_itself_and_both_lengths(file, size):
    os.truncate(file, size)
    promised = 96 if size < 96 else 2096
    with pytest.raises(InputError, match=rf"t\.bin has {size:,} bytes where .* {promised:,}: "):
        TokenFile(file)


def test_a_file_that_grew_is_refused(file):
    with open(file, "ab") as opened:
        opened.write(b"\0\0")
    with pytest.raises(InputError, match="has 2,098 bytes where its header promises 2,096"):
        TokenFile(file)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("t.bin", b"", "is empty"),
        ("t.bin", b"abc", "neither a token file nor a .bin file of nanoGPT"),
        ("t.txt", b"Some text", "tokenize the text first"),
        ("t.bin", b"tokenids" + struct.pack("<II", 2, 2) + bytes(80), "format 2 and 2 bytes"),
        ("t.bin", b"tokenids" + struct.pack("<II", 1, 3) + bytes(80), "format 1 and 3 bytes"),
    ],
)
def test_what_is_no_token_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        TokenFile(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.bin"):
        with pytest.raises(InputError, match="is not a file"):
            TokenFile(path)


def test_verify_finds_any_changed_byte(file, monkeypatch):
    monkeypatch.setattr(token_file, "BLOCK", 64)
    TokenFile(file).verify(1000)
    content = file.read_bytes()
    for position in (96, 900, 2095):
        changed = bytearray(content)
        changed[position] ^= 1
        file.write_bytes(changed)
        with pytest.raises(InputError, match=r"t\.bin is damaged"):
            TokenFile(file).verify(None)


def test_truncating_an_open_file_is_an_error_and_not_a_crash(file):
    stored = TokenFile(file)
    os.truncate(file, 200)
    with pytest.raises(InputError, match="t.bin has 200 bytes where it once had at least 2,096"):
        stored[:]


def test_a_file_that_is_replaced_stays_readable(file):
    stored = TokenFile(file)
    write(file, range(5))
    assert np.array_equal(stored[:], np.arange(1000))


def test_threads_may_read_at_the_same_time(file):
    stored, ids = TokenFile(file), np.arange(1000)
    spans = [slice(n % 900, n % 900 + n % 97) for n in range(4000)]
    with ThreadPoolExecutor(8) as pool:
        for span, read in zip(spans, pool.map(stored.__getitem__, spans)):
            assert np.array_equal(read, ids[span])


def test_handles_are_given_back(file):
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        TokenFile(file)
    os.truncate(file, 5)
    for _ in range(20):
        with pytest.raises(InputError):
            TokenFile(file)
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before

"""safetensors files: beside the library of that name, and under damage."""

import json
import os
import resource
import signal
import stat
import tracemalloc

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.tensor_files import load_tensors, open_tensors, save_tensors

LAYOUTS = {
    "transposed": lambda x: x.T,
    "strided": lambda x: x[:, ::2],
    "reversed": lambda x: x[::-1],
    "a row from its end": lambda x: x[0, ::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1], (7, x.shape[1])),
    "fortran": np.asfortranarray,
    "big-endian": lambda x: x.astype(">f4"),
    "empty": lambda x: x[:0],
    "number": lambda x: x[0, 0].reshape(()),
}


def example():
    rng = np.random.default_rng(0)
    return {
        "weights": rng.standard_normal((3, 5), dtype=np.float32),
        "ids": np.arange(7),
        "flag": np.array([True, False]),
        "half": np.float16([1.5, -2]),
        "wide": np.ones(2),
    }


def file_with(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_memory_layout_comes_back_and_the_library_reads_the_same(layout, tmp_path):
    array = LAYOUTS[layout](np.arange(20, dtype=np.float32).reshape(4, 5))
    save_tensors(tmp_path / "a", {"x": array})
    loaded, _ = load_tensors(tmp_path / "a")
    np.testing.assert_array_equal(loaded["x"], array)
    assert loaded["x"].shape == array.shape and loaded["x"].dtype == np.float32
    oracle = pytest.importorskip("safetensors.numpy", reason="pip install safetensors")
    np.testing.assert_array_equal(oracle.load((tmp_path / "a").read_bytes())["x"], array)


def test_dtypes_and_texts_come_back_and_arrays_are_aligned(tmp_path):
    save_tensors(tmp_path / "a", example(), {"state": '{"é": 1}'})
    loaded, metadata = load_tensors(tmp_path / "a")
    assert metadata == {"state": '{"é": 1}'}
    for name, array in example().items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype and loaded[name].flags.writeable
    with open_tensors(tmp_path / "a") as tensors:
        assert all(e.start % loaded[name].itemsize == 0 for name, e in tensors.entries.items())


def test_what_the_library_wrote_is_read(tmp_path):
    oracle = pytest.importorskip("safetensors.numpy", reason="pip install safetensors")
    oracle.save_file(example(), tmp_path / "a", metadata={"format": "pt"})
    loaded, metadata = load_tensors(tmp_path / "a")
    assert metadata == {"format": "pt"} and loaded.keys() == example().keys()
    for name, array in example().items():
        np.testing.assert_array_equal(loaded[name], array)


def test_bfloat16_is_read_exactly(tmp_path):
    values = np.array([1, -2.5, 3.140625, 0, np.inf, -1e-30], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    (tmp_path / "a").write_bytes(file_with({"x": tensor("BF16", [6], [0, 12])}, upper.tobytes()))
    read = load_tensors(tmp_path / "a")[0]["x"]
    assert read.dtype == np.float32 and read[0] == 1 and read[1] == -2.5 and read[4] == np.inf
    np.testing.assert_array_equal(read.view(np.uint32) >> 16, upper)


def test_the_file_is_readable_by_others_as_the_umask_says(tmp_path):
    old = os.umask(0o022)
    try:
        save_tensors(tmp_path / "a", example())
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_says_why_and_leaves_the_old_file(tmp_path):
    save_tensors(tmp_path / "a", {"x": np.ones(3)})
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            save_tensors(tmp_path / "a", {"x": np.ones(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno is not None
    assert load_tensors(tmp_path / "a")[0]["x"].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_the_format_cannot_hold_is_refused(tmp_path):
    for tensors, metadata in [
        ({"x": np.array(["a"])}, None),
        ({"x": np.ones(1, complex)}, None),
        ({"__metadata__": np.ones(1)}, None),
        ({"x": np.ones(1)}, {"n": 1}),
    ]:
        with pytest.raises(InputError):
            save_tensors(tmp_path / "a", tensors, metadata)
    assert not list(tmp_path.iterdir())


DAMAGED = {
    "nothing": b"",
    "seven bytes": b"\0" * 7,
    "header longer than the file": (2**63).to_bytes(8, "little") + b"{}",
    "no JSON": file_with(b"{"),
    "not UTF-8": file_with(b'{"\xff": 1}'),
    "deep JSON": file_with(b"[" * 100_000),
    "a list": file_with([]),
    "NaN": file_with(b'{"x": NaN}'),
    "twice": file_with(b'{"x": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}, "x": 1}'),
    "no object": file_with({"x": 3}),
    "missing key": file_with({"x": {"dtype": "F32", "shape": [0]}}),
    "extra key": file_with({"x": tensor() | {"more": 1}}, b"\0" * 8),
    "unknown dtype": file_with({"x": tensor("F8_E4M3", [8])}, b"\0" * 8),
    "dtype is a list": file_with({"x": tensor(["F32"])}, b"\0" * 8),
    "negative size": file_with({"x": tensor(shape=[-2])}, b"\0" * 8),
    "bool for a size": file_with({"x": tensor("U8", [True], [0, 1])}, b"\0"),
    "fraction for a size": file_with({"x": tensor(shape=[2.0])}, b"\0" * 8),
    "enormous": file_with({"x": tensor(shape=[2**40, 2**40], offsets=[0, 2**82])}),
    "enormous by zero": file_with({"x": tensor(shape=[2**62, 2**62, 0], offsets=[0, 0])}),
    "forty dimensions": file_with({"x": tensor(shape=[1] * 40, offsets=[0, 4])}, b"\0" * 4),
    "shape and offsets differ": file_with({"x": tensor(shape=[3])}, b"\0" * 8),
    "backward": file_with({"x": tensor(offsets=[8, 0])}, b"\0" * 8),
    "three offsets": file_with({"x": tensor(offsets=[0, 8, 8])}, b"\0" * 8),
    "gap": file_with({"x": tensor(offsets=[8, 16])}, b"\0" * 16),
    "overlap": file_with({"x": tensor(), "y": tensor(offsets=[4, 12])}, b"\0" * 12),
    "cut short": file_with({"x": tensor()}, b"\0" * 7),
    "too long": file_with({"x": tensor()}, b"\0" * 9),
    "metadata of numbers": file_with({"__metadata__": {"n": 1}}),
    "metadata no object": file_with({"__metadata__": []}),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_one_error_that_names_it_and_the_remedy(case, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(DAMAGED[case])
    with pytest.raises(InputError, match=r"model\.safetensors is not a whole .*copy it again"):
        load_tensors(path)


@pytest.mark.parametrize("place", ["missing", "folder", "pipe", "loop"])
def test_a_path_that_is_no_file_is_an_error(place, tmp_path):
    path = tmp_path / "x"
    {
        "missing": lambda: None,
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
    }[place]()
    with pytest.raises(InputError, match="cannot read"):
        load_tensors(path)


def test_a_header_that_promises_much_allocates_little(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(file_with({"x": tensor(shape=[2**30], offsets=[0, 2**32])}))
    tracemalloc.start()
    with pytest.raises(InputError):
        load_tensors(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_mutated_files_give_the_one_error_or_what_the_library_reads(tmp_path):
    oracle = pytest.importorskip("safetensors.numpy", reason="pip install safetensors")
    save_tensors(tmp_path / "a", example(), {"format": "pt"})
    whole, rng, opened = (tmp_path / "a").read_bytes(), np.random.default_rng(1), 0
    for _ in range(1000):
        data = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.2 else whole)
        for place in rng.integers(max(len(data), 1), size=rng.integers(1, 4)):
            data[place : place + 1] = bytes([rng.choice(list(b"0123456789{}[],:\x00\xffBF"))])
        (tmp_path / "b").write_bytes(data)
        try:
            loaded, _ = load_tensors(tmp_path / "b")
        except InputError:
            continue
        opened += 1
        if b'"BF16"' not in data:
            assert {n: x.tobytes() for n, x in oracle.load(bytes(data)).items()} == {
                n: x.tobytes() for n, x in loaded.items()
            }
    assert opened > 50

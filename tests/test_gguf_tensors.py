"""Blocks of small integers: each kind by hand, and random ones beside the package gguf."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.gguf_tensors import BLOCK, KINDS, NAMES, Stored, kind_of


def half(value):
    return np.float16(value).tobytes()


def dequantized(kind, data):
    return Stored(kind, np.frombuffer(data, KINDS[kind].dtype)).dequantize()


def test_q8_0_by_hand():
    """d = 0.5: the numbers are half of the integers -16 to 15."""
    integers = np.arange(-16, 16, dtype=np.int8)
    np.testing.assert_array_equal(dequantized("Q8_0", half(0.5) + integers.tobytes()), integers / 2)


def test_q4_0_by_hand():
    """Byte 0 is 0xf1: number 0 is d (1 - 8), number 16 is d (15 - 8)."""
    x = dequantized("Q4_0", half(2) + bytes([0xF1] + [0x88] * 15))
    assert x[0] == -14 and x[16] == 14 and not np.any(np.delete(x, [0, 16]))


def test_q4_1_by_hand():
    """x = d q + m with d = 0.25 and m = -1: q = 0 gives -1, q = 15 gives 2.75."""
    x = dequantized("Q4_1", half(0.25) + half(-1) + bytes([0xF0] * 16))
    np.testing.assert_array_equal(x, [-1] * 16 + [2.75] * 16)


def test_bfloat16_is_the_upper_half_of_a_float32():
    values = np.array([1, -2.5, 3.140625, -1e-30], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    read = dequantized("BF16", upper.tobytes())
    np.testing.assert_array_equal(read.view(np.uint32) >> 16, upper)


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes_beside_the_package_gguf(kind):
    oracle = pytest.importorskip("gguf", reason="pip install gguf")
    dtype = KINDS[kind].dtype
    data = np.random.default_rng(1).integers(256, size=(7, 5 * dtype.itemsize), dtype=np.uint8)
    number = next(n for n, name in NAMES.items() if name == kind)
    raw = data.view(dtype) if KINDS[kind].size == 1 and kind != "BF16" else data
    with np.errstate(all="ignore"):
        expected = oracle.dequantize(raw, oracle.GGMLQuantizationType(number))
    stored = Stored(kind, data.view(dtype))
    assert stored.shape == expected.shape
    np.testing.assert_array_equal(stored.dequantize(), expected)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1"])
def test_rows_of_blocks_can_be_moved(kind):
    rng = np.random.default_rng(2)
    data = rng.integers(100, size=(6, 2 * KINDS[kind].dtype.itemsize), dtype=np.uint8)
    stored = Stored(kind, data.view(KINDS[kind].dtype))
    assert stored.shape == (6, 2 * BLOCK)
    order = rng.permutation(6)
    moved = Stored(kind, stored.blocks[order]).dequantize()
    np.testing.assert_array_equal(moved, stored.dequantize()[order])
    assert moved.dtype == np.float32


def test_infinite_scales_are_no_warning():
    assert np.isinf(dequantized("Q8_0", half(np.inf) + b"\1" * 32)).all()


@pytest.mark.parametrize("number, name", [(13, "Q5_K"), (27, "I64"), (29, "IQ1_M"), (7, "Q5_1")])
def test_other_types_are_refused_by_name(number, name):
    with pytest.raises(InputError, match=name):
        kind_of(number)


def test_the_names_are_those_of_the_package_gguf():
    oracle = pytest.importorskip("gguf", reason="pip install gguf")
    theirs = {kind.value: kind.name for kind in oracle.GGMLQuantizationType}
    shared = NAMES.keys() & theirs.keys()
    assert len(shared) > 30 and all(NAMES[number] == theirs[number] for number in shared)

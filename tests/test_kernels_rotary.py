"""Rotary positions, compiled."""

import numpy as np
import pytest

from tests.kernel_laws import assert_deterministic, assert_equals_reference, layouts, normal
from tinygrad_llm.kernels.attention import scaled_dot_product_attention, split_heads
from tinygrad_llm.kernels.rotary import rotary
from tinygrad_llm.ops import rotary as ops


def tables(t, d):
    angles = np.random.default_rng(4).random((t, d // 2)) * 7
    return {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}


SHAPES = [(3, 4), (1, 2), (5, 64), (2, 7, 6), (4, 3, 9, 34), (2, 8, 70, 64), (2, 3, 2, 5, 4)]
EMPTY = [(0, 4), (3, 0), (0, 2, 3, 4), (2, 0, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES + EMPTY, ids=str)
def test_equals_reference(shape):
    settings = tables(*shape[-2:])
    assert_equals_reference(ops.rotary, [normal(shape, 1)], normal(shape, 2), settings)
    assert_deterministic(ops.rotary, [normal(shape, 1)], normal(shape, 2), settings)


def test_any_layout_and_tables_of_float64():
    angles = np.arange(18).reshape(6, 3)
    for x in layouts(normal((2, 3, 6, 6), 1)):
        settings = {"cos": np.cos(angles), "sin": np.sin(angles)}
        assert_equals_reference(ops.rotary, [x], normal(x.shape, 2), settings)


def test_its_values_lie_as_attention_reads_them():
    b, h, t, d = 2, 4, 70, 32
    (q, *_), _ = split_heads(normal((b, t, 3 * h * d)), heads=(h, h, h))
    y, backward = rotary(q, **tables(t, d))
    for array in (y, *backward(scaled_dot_product_attention(y, y, y)[0])):
        assert array.transpose(0, 2, 1, 3).flags.c_contiguous

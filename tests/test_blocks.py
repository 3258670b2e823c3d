"""Blocks of 8 and 4 bits: a case by hand, the largest error, and what they cannot hold."""

import numpy as np
import pytest

from tinygrad_llm import ops
from tinygrad_llm.blocks import BLOCKS, Q4_1, is_blocks, quantized, shape_of, widened

KINDS = sorted(BLOCKS)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_a_case_by_hand():
    """0, 1, ..., 15 twice: m = 0 and d = 1, and byte i holds q_i = i and q_(i + 16) = i."""
    block = quantized(np.tile(np.arange(16.0), 2)[None], "Q4_1")
    assert block.shape == (1, 1) and block.dtype == Q4_1
    assert (block["d"].item(), block["m"].item()) == (1, 0)
    assert block["q"][0, 0].tolist() == [17 * i for i in range(16)]


@pytest.mark.parametrize("kind, steps", [("Q8_0", 254), ("Q4_0", 16), ("Q4_1", 15)])
def test_the_error_is_half_a_step_and_the_rounding_of_its_scale(kind, steps):
    x = numbers(7, 96)
    blocks = quantized(x, kind)
    assert is_blocks(blocks) and shape_of(blocks) == (7, 96)
    of_each = x.reshape(7, 3, 32)
    span = np.ptp(of_each, axis=-1) if kind == "Q4_1" else 2 * np.abs(of_each).max(axis=-1)
    whole = 1.0 if kind == "Q4_0" else 0.5  # 8 d is rounded down to 7 d
    bound = whole * span / steps + 2e-3 * span
    error = np.abs(widened(blocks) - x).reshape(7, 3, 32).max(axis=-1)
    assert (error <= bound).all() and (error > 0.05 * span / steps).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_blocks_hold_becomes_the_same_blocks(kind):
    blocks = quantized(numbers(5, 64), kind)
    np.testing.assert_array_equal(widened(quantized(widened(blocks), kind)), widened(blocks))
    zeros = quantized(np.zeros((2, 32), np.float32), kind)
    np.testing.assert_array_equal(widened(zeros), np.zeros((2, 32)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_blocks_cannot_hold_is_refused(kind):
    for wrong in (np.inf, np.nan, 7e4):
        with pytest.raises(ValueError, match="not finite, or above 65,504"):
            quantized(np.full((1, 32), wrong, np.float32), kind)
    with pytest.raises(ValueError, match="rows of 33"):
        quantized(np.zeros((1, 33)), kind)


def test_floats_stay_as_they_are():
    x = numbers(2, 3)
    assert widened(x) is x and shape_of(x) == (2, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_operations_take_blocks_for_a_frozen_weight(kind):
    """As with the widened weight: y, and the gradients of all else."""
    blocks, x, dy = quantized(numbers(6, 64), kind), numbers(2, 3, 64), numbers(2, 3, 6)
    results = []
    for weight in (blocks, widened(blocks)):
        y, backward = ops.TABLE["linear"](x, weight, np.ones(6, np.float32))
        results.append((y, *backward(dy, (True, False, True))))
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    ids = np.array([[5, 0]])
    rows, _ = ops.TABLE["embedding"](blocks, ids=ids)
    np.testing.assert_array_equal(rows, widened(blocks)[ids])
    with pytest.raises(ValueError, match=r"weight of shape \(6, 64\)"):
        ops.TABLE["linear"](x[..., :32], blocks, None)

"""Llama's feed-forward network, compiled."""

import numpy as np
import pytest

from tests.kernel_laws import assert_deterministic, assert_equals_reference, normal
from tinygrad_llm.kernels import feed_forward
from tinygrad_llm.kernels import swiglu as module
from tinygrad_llm.kernels.buffers import Room
from tinygrad_llm.kernels.swiglu import swiglu
from tinygrad_llm.ops import swiglu as ops

DY = normal((203, 90), 9)


def operands(bias=True):
    x, residual = normal((203, 70)), normal((203, 90), 8)
    w_gate, w_up, w_down = normal((157, 70), 1) / 4, normal((157, 70), 2) / 4, normal((90, 157), 3)
    biases = [normal(n, seed) if bias else None for n, seed in ((157, 4), (157, 5), (90, 6))]
    return [x, w_gate, biases[0], w_up, biases[1], w_down / 8, biases[2], residual]


@pytest.mark.parametrize("bias", [True, False])
def test_over_many_tiles(bias):
    assert_equals_reference(ops.swiglu, operands(bias), DY)
    assert_deterministic(ops.swiglu, operands(bias), DY)


def test_blocks_of_rows(monkeypatch):
    """Gradients are sums over the blocks."""
    monkeypatch.setattr(feed_forward, "WIDE_ROWS", 50)
    assert_equals_reference(ops.swiglu, operands(), DY)


def test_frozen_operands_cost_no_work(monkeypatch):
    _, backward = swiglu(*operands())
    everything = backward(DY, [True] * 8)
    monkeypatch.setattr(module, "by_weight", None)
    second = backward(DY, [False] * 5 + [True] * 3)
    assert second[:5] == (None,) * 5
    np.testing.assert_allclose(second[5], everything[5], rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(module, "_gated", None)
    assert backward(DY, [False] * 7 + [True]) == (None,) * 7 + (DY,)


def test_weight_gradients_go_into_rooms_and_backward_can_run_again():
    arrays = operands()
    _, backward = swiglu(*arrays)
    first = backward(DY, [True] * 8)
    rooms = [None] + [Room(np.ones_like(a), i > 1) for i, a in enumerate(arrays[1:7])] + [None]
    again = backward(DY, [True] * 8, rooms)
    for i in range(1, 7):
        assert again[i] is rooms[i].array
        np.testing.assert_allclose(again[i], first[i] + rooms[i].add, rtol=1e-4, atol=1e-4)
    assert np.array_equal(again[0], first[0]) and again[7] is DY

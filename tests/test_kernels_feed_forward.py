"""The feed-forward network, compiled."""

import numpy as np
import pytest

from tests.kernel_laws import assert_deterministic, assert_equals_reference, normal
from tinygrad_llm.kernels import feed_forward as module
from tinygrad_llm.kernels.buffers import Room
from tinygrad_llm.kernels.feed_forward import feed_forward
from tinygrad_llm.ops import feed_forward as ops


def operands(bias=True):
    biases = [normal(157, 2), normal(90, 4)] if bias else [None, None]
    w1, w2 = normal((157, 70), 1) / 4, normal((90, 157), 3) / 8
    return [normal((203, 70)), w1, biases[0], w2, biases[1], normal((203, 90), 5)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "settings", [{}, {"approximate": "tanh"}, {"dropout_p": 0.4, "seed": 2**63 + 5}], ids=str
)
def test_over_many_tiles(settings, bias):
    dy = normal((203, 90), 6)
    assert_equals_reference(ops.feed_forward, operands(bias), dy, settings)
    assert_deterministic(ops.feed_forward, operands(bias), dy, settings)


@pytest.mark.parametrize("dropout_p", [0.0, 0.4])
def test_blocks_of_rows(dropout_p, monkeypatch):
    """Dropout counts through all rows, and gradients are sums over the blocks."""
    monkeypatch.setattr(module, "WIDE_ROWS", 50)
    settings = {"approximate": "tanh", "dropout_p": dropout_p, "seed": 7}
    assert_equals_reference(ops.feed_forward, operands(), normal((203, 90), 6), settings)


def test_frozen_operands_cost_no_work(monkeypatch):
    arrays, dy = operands(), normal((203, 90), 6)
    _, backward = feed_forward(*arrays)
    everything = backward(dy, [True] * 6)
    monkeypatch.setattr(module, "by_weight", None)
    second = backward(dy, [False, False, False, True, True, True])
    assert second[:3] == (None, None, None)
    np.testing.assert_allclose(second[3], everything[3], rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(module, "gelu", None)
    assert backward(dy, [False] * 5 + [True]) == (None,) * 5 + (dy,)


def test_a_dropped_nan_stays_one():
    arrays = [*operands()[:5], np.zeros((203, 90), np.float32)]
    arrays[0] = np.full_like(arrays[0], np.nan)
    assert np.isnan(feed_forward(*arrays, dropout_p=0.5)[0]).all()


def test_weight_gradients_go_into_rooms_and_backward_can_run_again():
    arrays, dy, everything = operands(), normal((203, 90), 6), [True] * 6
    _, backward = feed_forward(*arrays)
    first = backward(dy, everything)
    rooms = [None] + [Room(np.ones_like(a), i > 1) for i, a in enumerate(arrays[1:5])] + [None]
    again = backward(dy, everything, rooms)
    for i in range(1, 5):
        assert again[i] is rooms[i].array
        np.testing.assert_allclose(again[i], first[i] + rooms[i].add, rtol=1e-4, atol=1e-4)
    assert np.array_equal(again[0], first[0]) and again[5] is dy

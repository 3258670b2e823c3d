"""Values made again for backward: the same numbers, and the memory is free meanwhile."""

import weakref

import numpy as np
import pytest

from tests.kernel_laws import normal
from tinygrad_llm import Tensor
from tinygrad_llm import functional as F
from tinygrad_llm.kernels import again
from tinygrad_llm.kernels.feed_forward import feed_forward
from tinygrad_llm.kernels.matmul import linear, linear_residual
from tinygrad_llm.kernels.normalize import layer_norm, rms_norm

ROWS, ROW = (40, 24), (24,)


def through(op, norm):
    """(weak reference to the norm's value, backward) of the op applied to it."""
    y, _ = norm()
    weights = {
        linear: (normal((9, 24), 1), None),
        linear_residual: (normal((9, 24), 1), None, normal((40, 9), 2)),
        feed_forward: (normal((9, 24), 1), None, normal((24, 9), 3), None, normal(ROWS, 4)),
    }[op]
    return weakref.ref(y), op(y, *weights)[1], normal((40, 24 if op is feed_forward else 9), 5)


@pytest.mark.parametrize("op", [linear, linear_residual, feed_forward])
@pytest.mark.parametrize(
    "norm",
    [
        lambda: layer_norm(normal(ROWS), normal(ROW, 6), normal(ROW, 7)),
        lambda: rms_norm(normal(ROWS), normal(ROW, 6)),
    ],
    ids=["layer_norm", "rms_norm"],
)
def test_a_large_value_is_freed_and_made_again(op, norm, monkeypatch):
    kept, backward, dy = through(op, norm)
    assert kept() is not None
    needs = [True] * 6
    expected = backward(dy, needs)
    monkeypatch.setattr(again, "LARGE", 1)
    freed, backward, dy = through(op, norm)
    assert freed() is None
    for first, second in zip(expected, backward(dy, needs), strict=True):
        assert (first is second is None) or np.array_equal(first, second)


@pytest.mark.parametrize("overwritten", ["input", "output"])
def test_what_a_frozen_norm_returned_is_kept(overwritten, monkeypatch):
    """No gradient goes through it, so nothing would notice that its memory was written to."""
    monkeypatch.setattr(again, "LARGE", 1)
    x, weight = Tensor(normal(ROWS)), Tensor(normal((9, 24), 1), requires_grad=True)
    h = F.layer_norm(x, Tensor(normal(ROW, 6)))
    if overwritten == "output":
        h.copy_(normal(ROWS, 8))
    expected = np.ones((9, 40), np.float32) @ h.data
    y = F.linear(h, weight)
    if overwritten == "input":
        x.copy_(normal(ROWS, 9))
    y.sum().backward()
    np.testing.assert_allclose(weight.grad, expected, rtol=1e-5, atol=1e-5)


def test_another_array_in_the_place_of_one_that_is_gone_is_kept_itself(monkeypatch):
    monkeypatch.setattr(again, "LARGE", 1)
    value = normal((3,))
    again.can_make(value, lambda: None)
    assert again.saved(value)() is None
    other = value.copy()
    again._makers[id(other)] = again._makers[id(value)]
    assert again.saved(other)() is other
    del again._makers[id(other)]


def test_nothing_is_remembered_of_values_that_are_gone(monkeypatch):
    monkeypatch.setattr(again, "LARGE", 1)
    before = len(again._makers)
    values = [normal((3,)) for _ in range(100)]
    for value in values:
        again.can_make(value, lambda: None)
    assert len(again._makers) == before + 100
    del value, values
    assert len(again._makers) == before

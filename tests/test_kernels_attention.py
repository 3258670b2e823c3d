"""Attention, compiled."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.kernel_laws import (
    assert_as_accurate_as_torch,
    assert_deterministic,
    assert_equals_reference,
    normal,
    results,
)
from tinygrad_llm.kernels import attention as kernels
from tinygrad_llm.ops import attention as ops

OP = ops.scaled_dot_product_attention
KERNEL = kernels.scaled_dot_product_attention
# (B, H, G, T, S, D)
SIZES = [
    (1, 1, 1, 1, 1, 1),
    (2, 3, 3, 5, 5, 7),
    (1, 2, 2, 17, 17, 16),
    (1, 1, 1, 97, 97, 64),
    (2, 4, 2, 33, 33, 20),
    (1, 6, 1, 7, 7, 33),
    (1, 2, 2, 6, 50, 8),
    (1, 2, 1, 50, 6, 8),
    (1, 1, 1, 1, 130, 32),
    (1, 3, 3, 200, 300, 12),
]


def operands(b, h, g, t, s, d):
    """[q, k, v] and dy."""
    return [normal((b, h, t, d), 1), normal((b, g, s, d), 2), normal((b, g, s, d), 3)], normal(
        (b, h, t, d), 4
    )


def random_mask(shape):
    return np.random.default_rng(5).random(shape) < 0.5


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_equals_reference(sizes, is_causal):
    arrays, dy = operands(*sizes)
    assert_equals_reference(OP, arrays, dy, {"is_causal": is_causal}, rtol=3e-6)


@pytest.mark.parametrize(
    "shape", [(2, 4, 33, 40), (2, 1, 1, 40), (33, 40), (1, 4, 33, 1), (40,), ()], ids=str
)
@pytest.mark.parametrize("is_causal", [False, True])
def test_masks(shape, is_causal):
    arrays, dy = operands(2, 4, 2, 33, 40, 8)
    assert_equals_reference(
        OP, arrays, dy, {"mask": random_mask(shape), "is_causal": is_causal}, rtol=3e-6
    )


def test_a_query_that_may_see_no_key_gives_zero():
    arrays, dy = operands(1, 2, 2, 20, 20, 8)
    mask = random_mask((20, 20))
    mask[[0, 7, 19]] = False
    y, dq, *_ = assert_equals_reference(OP, arrays, dy, {"mask": mask}, rtol=3e-6)
    assert not y[:, :, [0, 7, 19]].any() and not dq[:, :, [0, 7, 19]].any()
    assert not any(a.any() for a in results(KERNEL, arrays, {"mask": np.zeros((), bool)}, dy))


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": 0.0},
        {"scale": -2.0},
        {"scale": 3.0, "is_causal": True},
        {"scale": -1.0, "mask": random_mask((33, 33))},
    ],
    ids=str,
)
def test_scales(settings):
    arrays, dy = operands(1, 2, 2, 33, 33, 8)
    assert_equals_reference(OP, arrays, dy, settings, rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 1])
def test_dropout_drops_the_weights_that_the_reference_drops(seed):
    q, k = np.zeros((2, 2, 3, 21, 30), np.float32)  # equal weights: with v = 1, y is what was kept
    v = np.broadcast_to(np.eye(30, dtype=np.float32), (2, 3, 30, 30))
    k = np.zeros((2, 3, 30, 30), np.float32)
    settings = {"dropout_p": 0.3, "seed": seed}
    y, expected = KERNEL(q, k, v, **settings)[0], OP(q, k, v, **settings)[0]
    np.testing.assert_array_equal(y == 0, expected == 0)
    assert 0.2 < np.mean(y == 0) < 0.4


@pytest.mark.parametrize(
    "settings", [{}, {"is_causal": True}, {"mask": random_mask((2, 1, 33, 33))}], ids=str
)
def test_dropout_equals_reference(settings):
    arrays, dy = operands(2, 4, 2, 33, 33, 20)
    assert_equals_reference(OP, arrays, dy, {**settings, "dropout_p": 0.3, "seed": 5}, rtol=3e-6)


def test_views_of_one_projection_and_a_broadcast_gradient():
    projection = normal((2, 35, 3 * 4 * 16), 1)
    arrays = [
        part.reshape(2, 35, 4, 16).swapaxes(1, 2) for part in np.split(projection, 3, axis=-1)
    ]
    for dy in (
        normal((2, 35, 4, 16), 2).swapaxes(1, 2),
        np.float32([1.0]),
        normal((2, 4, 16, 35), 3).swapaxes(2, 3),
    ):
        assert_equals_reference(OP, arrays, dy, {"is_causal": True}, rtol=3e-6)


def test_layout_of_the_results_joins_heads_without_a_copy():
    arrays, dy = operands(2, 3, 3, 10, 10, 8)
    y, dq, dk, dv = results(KERNEL, arrays, {}, dy)
    assert y.swapaxes(1, 2).flags.c_contiguous
    whole = np.stack([a.swapaxes(1, 2) for a in (dq, dk, dv)], axis=2)
    assert (
        whole.strides[-2:] == dq.strides[1::2]
        and dk.ctypes.data - dq.ctypes.data == whole.strides[2]
    )


@pytest.mark.parametrize(
    "sizes",
    [(0, 2, 2, 3, 3, 4), (1, 2, 2, 0, 3, 4), (1, 2, 2, 3, 0, 4), (1, 2, 2, 3, 3, 0)],
    ids=str,
)
def test_zero_sizes(sizes):
    arrays, dy = operands(*sizes)
    for a in results(KERNEL, arrays, {"is_causal": True}, dy):
        assert not a.any()


def test_special_values():
    arrays, dy = operands(1, 1, 1, 20, 20, 8)
    for place, value in ((0, np.nan), (1, np.nan), (0, 1e30), (2, 1e30), (1, np.inf)):
        changed = [a.copy() for a in arrays]
        changed[place][0, 0, 3, 2] = value
        with np.errstate(all="ignore"):
            expected = OP(*changed)[0]
        np.testing.assert_allclose(KERNEL(*changed)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("t", [50, 300])
def test_as_accurate_as_torch(t, is_causal):
    functional = pytest.importorskip("torch", reason="pip install torch").nn.functional
    arrays, dy = operands(2, 3, 3, t, t, 64)
    assert_as_accurate_as_torch(
        OP,
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal),
        arrays,
        dy,
        {"is_causal": is_causal},
    )


@pytest.mark.parametrize(
    "settings", [{}, {"is_causal": True, "dropout_p": 0.1, "seed": 3}], ids=str
)
def test_deterministic(settings):
    arrays, dy = operands(1, 3, 3, 150, 150, 32)
    assert_deterministic(OP, arrays, dy, settings)


def test_a_query_alone_equals_that_query_among_others_bit_for_bit():
    q, k, v = operands(1, 2, 2, 70, 70, 32)[0]
    together = KERNEL(q, k, v, is_causal=True)[0]
    for t in (0, 15, 16, 69):
        alone = KERNEL(q[:, :, t : t + 1], k[:, :, : t + 1], v[:, :, : t + 1], is_causal=True)[0]
        np.testing.assert_array_equal(alone[:, :, 0], together[:, :, t])


@pytest.mark.parametrize("heads, groups, t", [(4, 4, 300), (6, 2, 33), (3, 1, 256), (2, 2, 1)])
def test_one_query_on_many_keys_equals_it_among_others_bit_for_bit(heads, groups, t):
    """The last query, whose pass is another kernel, in memory with gaps as a cache has it."""
    q, k, v = operands(2, heads, groups, t, t, 64)[0]
    together = KERNEL(q, k, v, is_causal=True)[0]
    cached = [np.concatenate([x, x], axis=2)[:, :, :t] for x in (k, v)]
    alone, backward = KERNEL(q[:, :, -1:], *cached, is_causal=True)
    np.testing.assert_array_equal(alone, together[:, :, -1:])
    expected = ops.scaled_dot_product_attention(q[:, :, -1:], k, v, is_causal=True)[1](
        alone, (True,) * 3
    )
    for mine, theirs in zip(backward(alone), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_memory_grows_linearly_with_the_context():
    def peak(t):
        arrays, dy = operands(1, 1, 1, t, t, 16)
        with ThreadPoolExecutor(1) as fresh:  # a thread has scratch memory of its own
            tracemalloc.start()
            fresh.submit(results, KERNEL, arrays, {"is_causal": True}, dy).result()
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    assert peak(4096) < 2.2 * peak(2048) < 2.2 * 4 * 2048 * 2048


def test_shapes_that_do_not_fit_are_refused_as_by_the_reference():
    q, k, v = operands(1, 3, 3, 4, 4, 8)[0]
    for room in (ops, kernels):
        with pytest.raises(ValueError, match="do not fit"):
            room.scaled_dot_product_attention(q, k[:, :2], v[:, :2])
        with pytest.raises(ValueError, match="the mask is int64"):
            room.scaled_dot_product_attention(q, k, v, mask=np.ones((4, 4), np.int64))
        with pytest.raises(ValueError, match="dropout probability 1"):
            room.scaled_dot_product_attention(q, k, v, dropout_p=1)

"""Operations solved by hand, and the corners that no random sample reaches."""

import math

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.ops import activations, elementwise, losses, matmul, reductions, selection, shapes
from tinygrad_llm.ops.optimizer import adamw, square_norm
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.twins import kernels, reference

both = pytest.mark.parametrize("twin", [reference, kernels])


def leaf(values):
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_matmul_by_hand():
    """[1 2] times [[3], [4]] is 11; da = dy b^T = [3 4] and db = a^T dy = [[1], [2]]."""
    y, backward = matmul.matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    da, db = backward(np.ones((1, 1)), [True, True])
    assert y == [[11]] and da.tolist() == [[3, 4]] and db.tolist() == [[1], [2]]


def test_cross_entropy_by_hand():
    """Logits log 1, log 3: probabilities 1/4, 3/4; target 1 costs log 4/3, dlogits = p - onehot."""
    y, backward = losses.cross_entropy(np.log([[1.0, 3.0]]), targets=np.array([1]))
    assert y == pytest.approx(math.log(4 / 3))
    np.testing.assert_allclose(backward(np.ones(()))[0], [[0.25, -0.25]])


@both
def test_cross_entropy_ignores_rows_and_means_over_the_rest(twin):
    logits = leaf([[0, 0], [5, 9], [0, 0]])
    with twin():
        loss = F.cross_entropy(logits, np.array([0, -100, 1]))
        loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    np.testing.assert_allclose(logits.grad, [[-0.25, 0.25], [0, 0], [0.25, -0.25]], atol=1e-7)


def test_equal_values_share_the_gradient_of_max():
    _, backward = reductions.max(np.array([3.0, 1.0, 3.0]))
    assert backward(np.ones(()))[0].tolist() == [0.5, 0, 0.5]
    _, backward = elementwise.maximum(np.array([2.0, 5.0]), np.array([2.0, 1.0]))
    assert [d.tolist() for d in backward(np.ones(2))] == [[0.5, 1], [0.5, 0]]


def test_power_at_zero_has_the_gradients_of_its_limits():
    _, backward = elementwise.power(np.array([0.0, 0.0, 2.0]), np.array([0.0, 2.0, 0.0]))
    da, db = backward(np.ones(3), [True, True])
    assert da.tolist() == [0, 0, 0] and db.tolist() == [0, 0, math.log(2)]


@both
def test_a_query_that_may_see_no_key_gives_zero(twin):
    q = leaf(np.random.default_rng(0).standard_normal((1, 1, 3, 4)))
    mask = np.array([[True, False, True], [False] * 3, [True, True, True]])
    with twin():
        y = F.scaled_dot_product_attention(q, q, q, mask=mask)
        y.sum().backward()
    assert not y.data[0, 0, 1].any() and y.data[0, 0, 0].any() and np.isfinite(q.grad).all()


@both
def test_the_last_query_of_a_causal_block_sees_every_key(twin):
    rng = np.random.default_rng(0)
    q, k = (rng.standard_normal((1, 1, n, 4)).astype(np.float32) for n in (2, 5))
    with twin():
        block = F.scaled_dot_product_attention(q, k, k, is_causal=True).data
        last = F.scaled_dot_product_attention(q[:, :, 1:], k, k).data
        first = F.scaled_dot_product_attention(q[:, :, :1], k[:, :, :4], k[:, :, :4]).data
    np.testing.assert_allclose(block, np.concatenate([first, last], 2), atol=1e-6)


@both
def test_softmax_of_large_and_of_masked_scores(twin):
    x = np.array([[1e4, 1e4 - 1, -np.inf]], np.float32)
    with twin():
        y = F.softmax(x).data
    np.testing.assert_allclose(y, [[1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0]], atol=1e-6)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_the_share_it_says_and_keeps_the_mean(p):
    y, backward = selection.dropout(np.ones((300, 1000), np.float32), p=p, seed=12345)
    assert np.mean(y == 0) == pytest.approx(p, abs=0.004) and y.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(backward(np.ones_like(y))[0], y)


def test_dropout_follows_from_its_seed_and_seeds_differ():
    masks = [selection.keep((100, 100), p=0.5, seed=seed) for seed in (0, 0, 1, 2**32, 2**64 - 1)]
    np.testing.assert_array_equal(masks[0], masks[1])
    for i, a in enumerate(masks[1:]):
        for b in masks[i + 2 :]:
            assert 0.45 < np.mean(a == b) < 0.55


def test_gelu_at_one():
    assert activations.gelu(np.array([1.0]))[0] == pytest.approx(0.8413447460685429)
    assert activations.gelu(np.array([1.0]), approximate="tanh")[0] == pytest.approx(0.8411919906)


def test_an_entry_that_is_read_twice_gets_both_gradients():
    _, backward = shapes.getitem(np.zeros(3), index=np.array([1, 1, 2]))
    assert backward(np.array([1.0, 10.0, 100.0]))[0].tolist() == [0, 11, 100]
    _, backward = selection.embedding(np.zeros((3, 1)), ids=np.array([[1, 1], [2, 1]]))
    assert backward(np.ones((2, 2, 1)))[0].ravel().tolist() == [0, 3, 1]


def test_backward_holds_no_more_than_it_needs():
    """What only lends its shape is not kept alive."""
    x = np.ones((4, 4))
    for backward in (
        shapes.reshape(x, shape=(16,))[1],
        reductions.sum(x)[1],
        reductions.mean(x)[1],
        shapes.getitem(x, index=0)[1],
        selection.dropout(x, p=0.5, seed=1)[1],
        shapes.concatenate(x, x)[1],
        elementwise.add(x, x)[1],
    ):
        held = [cell.cell_contents for cell in backward.__closure__ or ()]
        assert not any(isinstance(value, np.ndarray) and value.size >= x.size for value in held)


def test_adamw_by_hand():
    """In step 1 w moves by lr sign(g) after its decay: 2 (1 - 0.1 0.5) - 0.1 = 1.8."""
    w, g, m, v = (np.array([value], np.float32) for value in (2.0, 3.0, 0.0, 0.0))
    adamw(w, g, m, v, lr=0.1, beta1=0.9, beta2=0.99, eps=0.0, weight_decay=0.5, step=1)
    assert w[0] == pytest.approx(1.8) and m[0] == pytest.approx(0.3) and v[0] == pytest.approx(0.09)


def test_square_norm_is_summed_in_float64():
    assert square_norm(np.full(10**6, 1e-3, np.float32)) == pytest.approx(1.0, rel=1e-6)

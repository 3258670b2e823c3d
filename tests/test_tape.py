"""The tape: gradients add up, what was used is freed, depth needs no stack, mistakes are named."""

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.tensor import Tensor, lift, no_grad, watch, watch_backward


def leaf(*values):
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_a_value_used_twice_gets_both_gradients():
    """b = a + a; c = b + b: dc/da = 4, which a walk in the wrong order gets as 2 or 6."""
    a = leaf(3.0)
    b = a + a
    (b + b).sum().backward()
    assert a.grad.tolist() == [4.0]


def test_a_diamond_whose_sides_differ_in_length():
    x = leaf(0.5)
    short = x * 3
    long = x.tanh().exp().tanh()
    (short * long).sum().backward()
    t, e = np.tanh(0.5), np.exp(np.tanh(0.5))
    expected = 3 * np.tanh(e) + 1.5 * (1 - np.tanh(e) ** 2) * e * (1 - t**2)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-6)


def test_gradients_accumulate_over_passes_until_they_are_zeroed():
    x = leaf(1.0, 2.0)
    for times in (1, 2, 3):
        (x * x).sum().backward()
        np.testing.assert_array_equal(x.grad, [2.0 * times, 4.0 * times])
    x.grad = None
    (x * 5).sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 5])


def test_gradients_are_added_in_place_into_a_given_buffer():
    x, buffer = leaf(1.0, 2.0), np.ones(2, np.float32)
    x.grad = buffer
    (x * 3).sum().backward()
    assert x.grad is buffer and buffer.tolist() == [4, 4]


def with_room(*shape):
    """A leaf of ones and a dirty room for its gradient."""
    x = Tensor(np.ones(shape, np.float32), requires_grad=True)
    x.room = np.full(shape, np.nan, np.float32)
    return x


def test_the_first_gradient_overwrites_a_room_and_later_ones_are_added():
    x, weight = Tensor(np.ones((3, 2), np.float32)), with_room(2, 2)
    products = F.linear(x, weight, None) + F.linear(x, weight, None)
    y = products + F.embedding(np.array([[0]]), weight).sum()
    y.sum().backward()
    assert weight.grad is weight.room
    assert weight.grad.tolist() == [[12, 12], [6, 6]]  # 3 + 3 by the products, 6 by the embedding


def test_a_room_serves_an_operand_that_an_op_has_twice():
    x = with_room(2, 2)
    F.linear(x, x, None).sum().backward()
    assert x.grad is x.room and x.grad.tolist() == [[4, 4], [4, 4]]


def test_leaves_never_share_a_gradient_array():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    dy = np.ones(2, np.float32)
    (a + b).backward(dy)
    a.grad += 1
    assert b.grad.tolist() == [1, 1] and dy.tolist() == [1, 1]
    c, d = leaf(1.0), leaf(2.0)
    (c.reshape(1, 1) + d).sum().backward()
    assert isinstance(c.grad, np.ndarray) and c.grad.flags.writeable and c.grad.base is None


def test_the_gradient_of_a_number_is_an_array():
    x = Tensor(2.0, requires_grad=True)
    (x * x).backward()
    assert isinstance(x.grad, np.ndarray) and x.grad.shape == () and x.grad == 4


def test_backward_twice_is_refused_unless_the_graph_is_retained():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8]
    with pytest.raises(RuntimeError, match="sum before and freed.*retain_graph=True"):
        y.backward()


def test_a_pass_that_fails_leaves_nothing_behind_in_the_graph():
    x = leaf(2.0)
    kept = x * 7  # older than what fails, so it waits in the walk that is broken off
    freed = (x * 3).exp()
    freed.sum().backward()
    with pytest.raises(RuntimeError, match="exp before and freed"):
        (freed.sum() + kept.sum()).backward()
    x.grad = None
    kept.sum().backward()
    assert x.grad.tolist() == [7]


def test_a_tensor_of_several_values_needs_a_gradient():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs a gradient"):
        y.backward()
    with pytest.raises(RuntimeError, match=r"gradient of shape \(3,\) for a tensor of \(2,\)"):
        y.backward(np.ones(3))
    with pytest.raises(NotImplementedError, match="gradients of gradients"):
        y.sum().backward(create_graph=True)
    with pytest.raises(RuntimeError, match="requires no gradient"):
        Tensor([1.0]).backward()


def test_a_leaf_that_changes_after_it_was_saved_is_an_error():
    x, w = leaf(2.0), leaf(3.0)
    y = (x * w).sum()
    w.copy_([5.0])
    with pytest.raises(RuntimeError, match=r"shape \(1,\) was changed in place after multiply"):
        y.backward()


def test_a_frozen_leaf_that_changes_after_it_was_saved_is_an_error():
    x, w = leaf(2.0), Tensor([3.0])
    y = (x * w).sum()
    w.copy_([5.0])
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_outputs_cannot_be_changed_in_place():
    y = leaf(2.0) * 3
    with pytest.raises(ValueError, match="read-only"):
        y.data[0] = 1
    with pytest.raises(RuntimeError, match="output of multiply"):
        y.copy_([1.0])
    with pytest.raises(TypeError, match="not changed in place"):
        y[0] = 1


def test_no_grad_records_nothing_and_restores_itself():
    x = leaf(2.0)
    with no_grad():
        y = x * 3
        with no_grad():
            pass
        assert not (x * 3).requires_grad
    assert not y.requires_grad and y.node is None and (x * 3).requires_grad
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * 3).requires_grad


def test_frozen_operands_cost_no_gradient_work():
    asked = []

    def product(a, b, /):
        def backward(dy, needs):
            asked.append(needs)
            return dy * b, None

        return a * b, backward

    x = leaf(2.0)
    lift(product)(x, Tensor([4.0])).sum().backward()
    assert asked == [[True, False]] and x.grad.tolist() == [4]
    assert lift(product)(Tensor([1.0]), Tensor([4.0])).node is None


@pytest.mark.parametrize(
    "gradients, says",
    [
        (lambda dy: (dy[0],), r"gradient of shape \(2,\) for operand 0 of shape \(3, 2\)"),
        (lambda dy: (dy.T,), r"gradient of shape \(2, 3\) for operand 0 of shape \(3, 2\)"),
        (lambda dy: (None,), "None for operand 0"),
        (lambda dy: (dy, dy), "2 gradients for 1 operands"),
    ],
)
def test_a_backward_that_breaks_the_contract_is_named(gradients, says):
    def wrong(x, /):
        return x * 1, lambda dy: gradients(dy)

    with pytest.raises(ValueError, match=f"backward of wrong gave.*{says}"):
        lift(wrong)(Tensor(np.ones((3, 2)), True)).backward(np.ones((3, 2)))


def test_one_output_in_a_tuple_is_still_a_tuple():
    x = leaf(1.0, 2.0)
    (part,) = x.split(2)
    part.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_outputs_that_were_not_used_count_as_zero():
    x = leaf(1.0, 2.0, 3.0)
    _, last = x.split([1, 2])
    (last * 2).sum().backward()
    assert x.grad.tolist() == [0, 2, 2]


def test_a_chain_of_100_000_operations_runs_back_and_is_freed():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_a_chain_of_100_000_operations_is_freed_without_a_pass():
    x = leaf(1.0)
    y = x * 1.0
    first = weakref.ref(y)
    for _ in range(100_000):
        y = y * 1.0
    del y
    gc.collect()
    assert first() is None


def test_backward_frees_as_it_goes_and_keeps_only_gradients():
    x = Tensor(np.ones(50_000, np.float32), requires_grad=True)  # 200 kB
    tracemalloc.start()
    try:
        y = x
        for _ in range(50):
            y = y.tanh()
        loss = y.sum()
        forward = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loss.backward()
        _, peak = tracemalloc.get_traced_memory()
        del y
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert forward > 50 * 200_000
    assert peak < forward + 5 * 200_000
    assert after < 3 * 200_000


def test_threads_do_not_share_switches_and_lose_no_gradient():
    weight = Tensor(np.ones(20_000, np.float32), requires_grad=True)
    recorded, start = [], threading.Barrier(4)

    def work():
        start.wait()
        for _ in range(25):
            (weight * 1.0).sum().backward()
        recorded.append((weight * 1.0).requires_grad)

    with no_grad():
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recorded == [True] * 4
    np.testing.assert_array_equal(weight.grad, np.full(20_000, 100, np.float32))


def test_watchers_see_every_operation_both_ways():
    forward, backward = [], []
    x = leaf(1.0, 2.0)

    def after_op(op, operands, settings, outputs):
        forward.append((op.__name__, settings))

    def after_backward(node, gradients):
        backward.append((node.op.__name__, len(gradients)))

    with watch(after_op), watch_backward(after_backward):
        (x * 2).sum(0, keepdims=True).backward()
    (x * 2).sum().backward()
    assert forward == [("multiply", {}), ("sum", {"axis": 0, "keepdims": True})]
    assert backward == [("sum", 1), ("multiply", 2)]

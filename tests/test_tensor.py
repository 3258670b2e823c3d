"""Tensor among NumPy users: dtypes, operators, conversions, copies, and errors that help."""

import copy
import pickle

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.tensor import Tensor, lift, no_grad

X_ROWS = np.ones((2, 3), np.float32)


def leaf(*values):
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_data_is_copied_and_lists_of_floats_become_float32():
    array = np.ones(3)
    tensor = Tensor(array)
    array[0] = 5
    assert tensor.data.tolist() == [1, 1, 1] and tensor.dtype == np.float64
    assert Tensor([1.0]).dtype == Tensor(1.0).dtype == np.float32
    assert Tensor([1, 2]).dtype == np.int64 and Tensor([True]).dtype == bool
    with pytest.raises(TypeError, match="int64"):
        Tensor([1, 2], requires_grad=True)


def test_operators_equal_numpys_on_both_sides():
    a, b = np.array([1.5, -2.0], np.float32), np.array([2.0, 4.0], np.float32)
    for got, expected in (
        (Tensor(a) + b, a + b),
        (a + Tensor(b), a + b),
        (Tensor(a) - b, a - b),
        (a - Tensor(b), a - b),
        (2 * Tensor(a), 2 * a),
        (3 - Tensor(a), 3 - a),
        (Tensor(a) / b, a / b),
        (1 / Tensor(b), 1 / b),
        (Tensor(b) ** 2, b**2),
        (2 ** Tensor(a), 2**a),
        (Tensor(a) @ b, a @ b),
        (a @ Tensor(b), a @ b),
        (-Tensor(a), -a),
        (abs(Tensor(a)), abs(a)),
        (np.float64(2) * Tensor(a), 2 * a),
    ):
        assert isinstance(got, Tensor) and got.dtype == np.float32
        np.testing.assert_allclose(got.data, expected, rtol=1e-6)


def test_an_array_on_the_left_keeps_the_graph():
    x = leaf(1.0, 2.0)
    (np.ones(2, np.float32) + x).sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_other_types_are_left_to_python():
    with pytest.raises(TypeError, match="unsupported operand"):
        Tensor([1.0]) + "a"
    with pytest.raises(TypeError):
        Tensor([1.0]) * [1.0]


@pytest.mark.parametrize(
    "other",
    [
        np.float64(2),
        np.float64(0.1),
        2,
        2.5,
        True,
        np.int64(3),
        np.array([1, 2]),
        np.array([True, False]),
        np.array(2, np.int32),
        Tensor([1, 2]),
        Tensor([1.0]) > 0,
    ],
)
def test_nothing_beside_float32_widens_it(other):
    x = leaf(1.0, 2.0)
    for y in (x * other, other * x, x - other, F.maximum(x, other), F.where(True, x, other)):
        assert y.dtype == np.float32
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == np.float32


def test_float64_is_kept_where_it_was_asked_for():
    x = Tensor(np.ones(2), requires_grad=True)
    y = x * leaf(1.0, 2.0)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float64


def test_numbers_alone_are_float32():
    assert F.where([True, False], 1.0, 0.0).dtype == F.exp(2.0).dtype == np.float32
    assert Tensor([1, 2]).mean().dtype == np.float32 and (Tensor([1, 2]) + 1).dtype == np.int64


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.int64])
def test_fractions_of_integers_are_float32_as_in_pytorch(dtype):
    ones = Tensor(np.ones(2, dtype))
    for f, value in (
        (F.exp, np.e),
        (F.log, 0),
        (F.sqrt, 1),
        (F.tanh, np.tanh(1)),
        (F.sigmoid, 1 / (1 + np.exp(-1))),
        (F.mean, 1),
    ):
        assert f(ones).dtype == np.float32
        np.testing.assert_allclose(f(ones).data, value, rtol=1e-6)
    assert (ones / ones).dtype == np.float32 and F.add(1, 2).item() == 3


def test_comparisons_are_tensors_of_bool_without_a_gradient():
    x = leaf(1.0, 2.0, 3.0)
    assert (x > 2).data.tolist() == [False, False, True] and not (x > 2).requires_grad
    assert (x == x).data.all() and (x != 1).data.tolist() == [False, True, True]
    assert (x <= Tensor([1.0, 1.0, 5.0])).data.tolist() == [True, False, True]
    assert {x: 1}[x] == 1  # hashed by identity


def test_masks_combine_as_numpys():
    x = Tensor([1.0, 2.0, 3.0])
    assert ((x > 1) & (x < 3)).data.tolist() == [False, True, False]
    assert (~((x < 2) | (x > 2))).data.tolist() == [False, True, False]


def test_indexing_takes_numpys_indices_and_tensors():
    x = leaf(1.0, 2.0, 3.0)
    assert x[1].item() == 2 and x[-2:].data.tolist() == [2, 3] and len(x) == 3
    assert x[x > 1.5].data.tolist() == [2, 3] and x[Tensor([0, 0])].data.tolist() == [1, 1]
    assert [row.item() for row in x] == [1, 2, 3]
    grid = Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    grid[Tensor([0, 2]), 1:3].sum().backward()
    assert grid.grad.sum() == 4 and grid.grad[2, 1] == 1


def test_one_number_is_a_python_float_and_no_sequence():
    loss = leaf(1.0, 2.5).sum()
    assert float(loss) == 3.5 and f"{float(loss):.2f}" == "3.50"
    for f in (iter, len):
        with pytest.raises(TypeError, match="unsized"):
            f(loss)
    with pytest.raises(ValueError, match="size 1"):
        float(leaf(1.0, 2.0))


def test_lists_are_operands_like_arrays():
    assert F.sum([1.0, 2.0]).item() == 3 and F.sum([1.0, 2.0]).dtype == np.float32
    assert F.concatenate([[1.0], [2.0]]).data.tolist() == [1, 2]
    assert F.layer_norm([[1.0, 3.0]], [1.0, 1.0]).shape == (1, 2)
    with pytest.raises(ValueError, match=r"parameters \(D,\)"):
        F.layer_norm(X_ROWS, (3,))


def test_what_holds_no_numbers_is_refused():
    for wrong in ("a", None, [object()], 1j):
        with pytest.raises(TypeError, match="numbers or bools"):
            Tensor(wrong)


def test_a_setting_that_would_drop_a_gradient_is_refused():
    x, bound = leaf(1.0, 2.0), leaf(1.5)
    with pytest.raises(TypeError, match=r"clip: max carries no gradient; give max.detach\(\)"):
        x.clip(max=bound)
    assert x.clip(max=bound.detach()).data.tolist() == [1, 1.5]
    with no_grad():
        assert x.masked_fill(x > 1, bound).data.tolist() == [1, 1.5]


def test_shapes_are_given_as_arguments_or_as_a_tuple():
    x = leaf(*range(6))
    assert x.reshape(2, 3).shape == x.reshape((2, 3)).shape == x.reshape(-1, 3).shape == (2, 3)
    y = x.reshape(1, 2, 3)
    assert y.permute(2, 0, 1).shape == y.permute((2, 0, 1)).shape == (3, 1, 2)
    assert y.T.shape == (3, 2, 1) and y.squeeze().shape == (2, 3) and y.unsqueeze(0).ndim == 4
    assert x.broadcast_to(4, 6).shape == (4, 6) and y.transpose(1, 2).shape == (1, 3, 2)


def test_settings_may_be_positional_and_too_many_are_refused():
    x = leaf(1.0, 2.0)
    assert x.sum(0).shape == () and x.sum(0, True).shape == (1,)
    with pytest.raises(TypeError, match="relu takes 1 operands.*got 2"):
        x.relu(1)
    with pytest.raises(TypeError, match="sum got axis twice"):
        x.sum(0, axis=0)
    with pytest.raises(TypeError, match="add takes 2 operands.*got 1"):
        F.add(x)


def test_conversions_to_numpy_never_drop_a_gradient_in_silence():
    x, plain = leaf(1.0, 2.0), Tensor([1.0, 2.0])
    assert np.asarray(plain).tolist() == [1, 2]
    assert np.asarray(plain, np.float64).dtype == np.float64
    assert np.array(plain) is not plain.data and np.asarray(plain) is plain.data
    for convert in (np.asarray, np.array, Tensor.numpy, lambda t: np.asarray(t * 2)):
        with pytest.raises(RuntimeError, match=r"detach\(\).numpy\(\)"):
            convert(x)
    assert x.detach().numpy() is x.data and not x.detach().requires_grad
    assert float(Tensor([[3.0]]).item()) == 3 and bool(Tensor([1.0]))
    with pytest.raises(ValueError):
        plain.item()


def test_leaves_are_copied_and_pickled_and_tied_ones_stay_tied():
    x = leaf(1.0, 2.0)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.copy(x)):
        assert twin.requires_grad and twin.data.tolist() == [1, 2] and twin.data is not x.data
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1] is not x


def test_a_history_is_neither_copied_nor_pickled():
    y = leaf(1.0)
    for _ in range(5_000):
        y = y * 1.0
    for f in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"detach\(\) first"):
            f(y)
    assert copy.deepcopy(y.detach()).data.tolist() == [1]


@pytest.mark.parametrize("saved, written", [(0, 1), (1, 0), (1, 2)])
def test_a_write_to_shared_memory_is_noticed_whoever_makes_it(saved, written):
    w = leaf(1.0, 2.0)
    owners = w, w.detach(), w.detach().detach()
    loss = (owners[saved] * leaf(3.0, 4.0)).sum()
    owners[written].copy_([5.0, 6.0])
    with pytest.raises(RuntimeError, match="changed in place after multiply"):
        loss.backward()


VIEWS = {
    "getitem": lambda x: x[0],
    "slice": lambda x: x[:, 1:],
    "reshape": lambda x: x.reshape(6),
    "T": lambda x: x.T,
    "split": lambda x: x.split(1)[0],
    "view of a view": lambda x: x[0][1:],
    "detached view": lambda x: x[0].detach(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("moved", [False, True], ids=["own memory", "an optimizer's memory"])
def test_a_write_through_a_view_is_noticed_and_one_to_the_whole_is_too(view, moved):
    b, factor = Tensor(np.ones((2, 3), np.float32)), leaf(1.0)
    if moved:
        b.data = np.ones(12, np.float32)[6:].reshape(2, 3)
    loss = (b * factor).sum()
    view(b).copy_(view(b).data * 2)
    with pytest.raises(RuntimeError, match="changed in place after multiply"):
        loss.backward()
    loss = (view(b) * factor).sum()
    b.copy_(b.data * 2)
    with pytest.raises(RuntimeError, match="changed in place after multiply"):
        loss.backward()


def test_a_write_to_what_only_looks_like_a_view_disturbs_nobody():
    b, factor = Tensor(np.ones((2, 3), np.float32)), leaf(1.0)
    loss = (b * factor).sum()
    for copy_of_it in (b * 1, b[[0, 1]], b.T.reshape(6)):
        copy_of_it.copy_(copy_of_it.data * 2)
    loss.backward()
    assert factor.grad.tolist() == [6]


def test_copy_checks_the_shape():
    with pytest.raises(ValueError, match="shape"):
        leaf(1.0, 2.0).copy_([1.0, 2.0, 3.0])


def test_repr_names_the_operation():
    x = leaf(1.0, 2.0)
    assert repr(x) == "Tensor([1., 2.], requires_grad=True)"
    assert repr(x * 2) == "Tensor([2., 4.], requires_grad=True, op=multiply)"


def test_lift_keeps_the_name_and_the_docstring():
    def cube(x, /):
        """y = x^3;   dx = 3 x^2 dy."""
        return x**3, lambda dy: (3 * x * x * dy,)

    lifted, x = lift(cube), leaf(2.0)
    lifted(x).sum().backward()
    assert lifted.__name__ == "cube" and "3 x^2" in lifted.__doc__ and x.grad.tolist() == [12]

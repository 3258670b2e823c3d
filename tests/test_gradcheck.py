"""gradcheck passes what is right, catches every planted mistake, and says what and where it is."""

import numpy as np
import pytest

from tests.mutants import MUTANTS, SEVENTH, SQUARE, X, spoil
from tinygrad_llm import functional as F
from tinygrad_llm import ops
from tinygrad_llm.explain.gradcheck import GradientError, compare, gradcheck, max_error
from tinygrad_llm.recipes.gradcheck import CASES
from tinygrad_llm.tensor import Tensor, lift


def message(f, *inputs):
    with pytest.raises(GradientError) as caught:
        gradcheck(f, *inputs)
    return str(caught.value)


@pytest.mark.parametrize("what", MUTANTS)
def test_every_planted_mistake_is_caught(what):
    function, x = MUTANTS[what]
    with np.errstate(invalid="ignore"), pytest.raises(GradientError):
        gradcheck(lift(function), x)


def test_there_are_more_than_twenty_mistakes():
    assert len(MUTANTS) > 20


def test_right_functions_pass():
    assert gradcheck(lambda x: F.softmax(x).log(), X) is True
    assert gradcheck(lambda a, b: (a @ b).tanh().sum(), X, SQUARE)
    assert gradcheck(lambda x: x.split(2, 1), X)  # several outputs
    assert gradcheck(lambda x: x * 2, 3.0)
    assert gradcheck(lambda x: x * 2, np.zeros((0, 3)))
    assert gradcheck(lambda w, ids: F.embedding(ids, w), X, np.array([0, 1, 1]))
    assert max_error(lambda x: x.exp(), X) < 1e-8


def test_float32_inputs_are_checked_in_float64_and_left_alone():
    x = Tensor(X.astype(np.float32), requires_grad=True)
    before = x.data.copy()
    assert gradcheck(lambda t: t.exp(), x) and x.grad is None
    np.testing.assert_array_equal(x.data, before)
    assert compare(lambda t: t.exp(), x)[0].numeric.dtype == np.float64


def test_the_entry_with_the_largest_error_is_named():
    function, x = spoil("exp", 0, lambda g, x, dy: g + SEVENTH, X)
    text = message(lift(function), x)
    assert "input 0 of shape (3, 4) at [1, 3]" in text and "1 of 12 entries are wrong" in text


def test_the_kind_of_mistake_is_named():
    assert "a sign is wrong" in message(lift(spoil("exp", 0, lambda g, x, dy: -g, X)[0]), X)
    assert "0.5 times" in message(lift(spoil("exp", 0, lambda g, x, dy: g / 2, X)[0]), X)
    transposed = spoil("matmul", 1, lambda g, x, dy: g.T, SQUARE, SQUARE)[0]
    assert "the transpose" in message(lift(transposed), SQUARE)


def test_the_guilty_operation_is_named_among_right_ones():
    wrong = lift(MUTANTS["softmax: row sum missing"][0])
    text = message(lambda x: (wrong(x.tanh()) * 3).exp(), X)
    assert "the backward of spoiled (tests/mutants.py:" in text
    assert "tanh" not in text and "multiply" not in text


def test_the_command_has_a_case_for_every_operation():
    assert CASES.keys() == ops.TABLE.keys()


def test_gradients_that_do_not_arrive_or_are_not_finite():
    assert "no gradient arrived" in message(lambda x: x.detach() * x.data, X)
    assert "operand 0 of shape (3, 4)" in message(lift(MUTANTS["exp: none at all"][0]), X)
    with np.errstate(invalid="ignore"):
        assert "born in the backward of spoiled" in message(lift(MUTANTS["exp: NaN"][0]), X)


def test_a_gradient_of_another_shape_is_named_with_both_shapes():
    text = message(lift(MUTANTS["linear: dW transposed, another shape"][0]), X[:2])
    assert "gradient of shape (4, 2) for operand 0 of shape (2, 4)" in text


def test_a_function_that_draws_is_refused():
    rng = np.random.default_rng(0)
    assert "two values" in message(lambda x: F.dropout(x, 0.5, rng), X)

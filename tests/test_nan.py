"""The NaN finder names where a NaN or a harmful infinity was born, and keeps quiet about masks."""

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.explain.nan import NaNFound, diagnose, find_nan
from tinygrad_llm.tensor import Tensor


def leaf(*values):
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_a_nan_born_forward_is_named_with_place_entry_and_operands():
    x = leaf(-1.0, 2.0, 3.0)
    text = diagnose(lambda: (F.log(x * 2) + 1).sum())
    assert text.startswith("the NaN was born in log (tinygrad_llm/ops/elementwise.py:")
    assert "1 of 3 values of y, first [0], from x (3,) in [-2, 6]" in text


def test_a_nan_born_backward_is_named():
    x = leaf(0.0, 4.0)
    text = diagnose(lambda: (F.sqrt(x * 0.0) * 0.0).sum())
    assert "born in the backward of sqrt" in text and "2 of 2 values of dx" in text


def test_the_infinity_before_the_nan_is_named_too():
    x = leaf(1.0, 200.0)
    text = diagnose(lambda: (F.exp(x) / F.exp(x)).sum())
    assert "the NaN was born in divide" in text
    assert "before it, an infinity was born in exp" in text and "in [1, 200]" in text


def test_an_infinite_loss_names_the_overflow():
    x = leaf(1.0, 200.0)
    assert "an infinity was born in exp" in diagnose(lambda: F.exp(x).sum())
    big = Tensor(np.array([np.inf], np.float32), requires_grad=True)
    assert "a weight or an input" in diagnose(lambda: (big * 2).sum())


def test_an_infinite_gradient_names_its_birth():
    x = leaf(0.0, 4.0)
    assert "an infinity was born in the backward of sqrt" in diagnose(lambda: F.sqrt(x).sum())
    older = leaf(1.0) * 2  # whose gradient is finite and comes last
    assert "the backward of sqrt" in diagnose(lambda: (older + F.sqrt(x)).sum())


def test_a_nan_that_came_in_is_told_from_one_that_was_born():
    w = leaf(1.0, np.nan)
    text = diagnose(lambda: F.mse_loss(w, np.zeros(2, np.float32)))
    assert text.startswith("a NaN came in with a of mse_loss")


def test_masks_and_harmless_overflows_are_no_defect():
    x = leaf(1.0, 2.0, 3.0)
    mask = np.array([False, True, False])
    assert diagnose(lambda: (F.softmax(F.masked_fill(x, mask, -np.inf)) * x).sum()) is None
    assert diagnose(lambda: (F.softmax(F.where(mask, -np.inf, x)) * x).sum()) is None
    assert diagnose(lambda: F.exp(x).sum()) is None
    frozen = Tensor(np.array([300.0, 1.0, 1.0], np.float32))
    assert diagnose(lambda: (x / F.exp(frozen)).sum()) is None


def test_a_mask_is_not_taken_for_the_overflow_that_follows_it():
    x, mask = leaf(1.0, 200.0), np.array([True, False])
    assert "born in exp" in diagnose(
        lambda: (F.softmax(F.masked_fill(x, mask, -np.inf)) * F.exp(x)).sum()
    )


def test_a_row_of_which_everything_is_masked():
    x = leaf(1.0, 2.0)
    text = diagnose(lambda: F.softmax(F.masked_fill(x, np.array([True, True]), -np.inf)).sum())
    assert "born in softmax" in text and "with 2 infinite" in text


def test_find_nan_raises_where_it_is_born_and_only_inside_the_block():
    x = leaf(-1.0)
    with pytest.raises(NaNFound, match="born in log"), find_nan():
        F.log(x)
    with np.errstate(invalid="ignore"):
        F.log(x)
    with find_nan() as seen:
        F.exp(x * -200)
    assert "born in exp" in seen.forward and seen.backward is None


def test_warnings_are_not_raised_while_it_looks():
    with np.errstate(all="raise"):
        assert "born in log" in diagnose(lambda: F.log(leaf(-1.0)).sum())

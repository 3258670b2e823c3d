"""What a call means: settings that an op does not know, and PyTorch's names for those it does."""

from inspect import signature

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.calls import PYTORCHS, check_settings, reader
from tinygrad_llm.ops import TABLE, reductions, shapes
from tinygrad_llm.tensor import Tensor

X = Tensor(np.ones((1, 2, 3, 4), np.float32))


def refused(f, *args, **settings):
    with pytest.raises(TypeError) as caught:
        f(*args, **settings)
    return str(caught.value)


def test_operands_come_first_and_settings_with_or_without_a_name():
    read = reader(reductions.sum)
    assert read(("x",), {}) == (("x",), {})
    assert read(("x", 1), {"keepdims": True}) == (("x",), {"axis": 1, "keepdims": True})
    assert reader(shapes.concatenate)(("x", "y", "z"), {"axis": 1}) == (
        ("x", "y", "z"),
        {"axis": 1},
    )


def test_pytorchs_names_lead_to_ours():
    assert refused(X.sum, dim=1) == (
        "sum() has no setting 'dim'; it knows axis and keepdims; PyTorch's dim is axis"
    )
    for f in (X.softmax, X.max, X.squeeze, X.argmax):
        assert "PyTorch's dim is axis" in refused(f, dim=1)
    for join in (F.concatenate, F.stack):
        assert "PyTorch's dim is axis" in refused(join, [X, X], dim=1)
    assert "PyTorch's keepdim is keepdims" in refused(X.mean, axis=1, keepdim=True)
    assert "PyTorch's dims is axes" in refused(F.permute, X, dims=(0, 1, 2, 3))
    attention = refused(F.scaled_dot_product_attention, X, X, X, attn_mask=None)
    assert "it knows mask, is_causal, dropout_p, seed and scale" in attention
    assert "PyTorch's attn_mask is mask" in attention


def test_other_names_lead_to_the_nearest_or_to_what_there_is():
    assert "did you mean 'approximate'?" in refused(X.gelu, aproximate="tanh")
    assert refused(X.exp, dim=1) == "exp() has no setting 'dim'; it has none"
    assert refused(X.sum, where=True) == "sum() has no setting 'where'; it knows axis and keepdims"
    assert "it knows a, b and c" in refused(check_settings, "f", ["a", "b", "c"], ["out"])


def test_every_name_of_ours_is_a_setting_of_some_operation():
    assert {name for op in TABLE.values() for name in signature(op).parameters} >= {
        *PYTORCHS.values()
    }

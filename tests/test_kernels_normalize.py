"""softmax, log_softmax, layer_norm and rms_norm, compiled."""

import numpy as np
import pytest

from tests.kernel_laws import (
    assert_as_accurate_as_torch,
    assert_deterministic,
    assert_equals_reference,
    layouts,
    normal,
    results,
)
from tinygrad_llm.kernels import normalize as kernels
from tinygrad_llm.ops import normalize as ops

SOFTMAXES = [ops.softmax, ops.log_softmax]
SHAPES = [(1,), (5,), (3, 1), (4, 65), (2, 3, 17), (33, 100), (130, 257), (0, 4)]


def norm_operands(op, shape, bias=True):
    operands = [normal(shape, 1) + 0.5, normal(shape[-1:], 2) + 1]
    return operands if op is ops.rms_norm else [*operands, normal(shape[-1:], 3) if bias else None]


@pytest.mark.parametrize("op", SOFTMAXES)
@pytest.mark.parametrize("shape", [*SHAPES, (3, 0)], ids=str)
def test_softmax_equals_reference(op, shape):
    assert_equals_reference(op, [normal(shape, 1, 3)], normal(shape, 2))


@pytest.mark.parametrize("op", SOFTMAXES)
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_softmax_over_any_axis_of_any_layout(op, axis):
    for x in layouts(normal((5, 4, 6), 1)):
        assert_equals_reference(op, [x], normal((5, 4, 6), 2), {"axis": axis})
        assert_equals_reference(op, [x], np.float32([2.0]), {"axis": axis})


@pytest.mark.parametrize("op", SOFTMAXES)
def test_softmax_of_special_values(op):
    inf = np.inf
    x = np.float32(
        [[0, -inf, 1], [-inf, -inf, 3], [1e30, 0, -1e30], [0, 89, 200], [np.nan, 0, 1], [-inf] * 3]
    )
    assert_equals_reference(op, [x], normal(x.shape, 1))


@pytest.mark.parametrize("op", [ops.layer_norm, ops.rms_norm])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norm_equals_reference(op, shape):
    assert_equals_reference(op, norm_operands(op, shape), normal(shape, 4), rtol=5e-6)


@pytest.mark.parametrize("op", [ops.layer_norm, ops.rms_norm])
def test_norm_of_any_layout_with_a_broadcast_gradient(op):
    operands = norm_operands(op, (6, 10), bias=False)
    for x in layouts(operands[0]):
        assert_equals_reference(op, [x, *operands[1:]], normal((6, 10), 2)[:, ::-1], {"eps": 1e-12})
        assert_equals_reference(op, [x, *operands[1:]], np.float32([[2.0]]))


def test_norm_gives_nan_only_where_it_came_in():
    x = normal((3, 8), 1)
    x[1, 3] = np.nan
    for op in (ops.layer_norm, ops.rms_norm):
        y = results(
            getattr(kernels, op.__name__), [x, *norm_operands(op, (3, 8))[1:]], {}, normal((3, 8))
        )[0]
        assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


def test_layer_norm_far_from_zero_and_of_equal_values():
    x = np.stack([normal(64, 1) + 1000, np.full(64, 7, np.float32)])
    assert_equals_reference(
        ops.layer_norm, [x, *norm_operands(ops.layer_norm, x.shape)[1:]], normal(x.shape), rtol=1e-4
    )


@pytest.mark.parametrize("op", [*SOFTMAXES, ops.layer_norm, ops.rms_norm])
def test_as_accurate_as_torch(op):
    functional = pytest.importorskip("torch", reason="pip install torch").nn.functional
    shape = (500, 384)
    if op in SOFTMAXES:
        arrays, torch_op = [normal(shape, 1, 3)], lambda x: getattr(functional, op.__name__)(x, -1)
    else:
        arrays = norm_operands(op, shape)
        eps = {ops.layer_norm: 1e-5, ops.rms_norm: 1e-6}[op]

        def torch_op(x, *parameters):
            return getattr(functional, op.__name__)(x, (384,), *parameters, eps=eps)  # noqa: E731

    assert_as_accurate_as_torch(op, torch_op, arrays, normal(shape, 5))


@pytest.mark.parametrize("op", [*SOFTMAXES, ops.layer_norm, ops.rms_norm])
def test_deterministic(op):
    operands = [normal((301, 130), 1)] if op in SOFTMAXES else norm_operands(op, (301, 130))
    assert_deterministic(op, operands, normal((301, 130), 5))


def test_parameters_that_do_not_fit_are_refused_as_by_the_reference():
    for room in (ops, kernels):
        with pytest.raises(ValueError, match=r"layer_norm: x of shape \(2, 3\) does not fit"):
            room.layer_norm(normal((2, 3)), normal((4,)), None)
        with pytest.raises(ValueError, match="D at least 1"):
            room.rms_norm(normal((2, 0)), normal((0,)))

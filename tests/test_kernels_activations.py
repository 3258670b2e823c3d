"""GELU and SiLU, compiled."""

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
from tinygrad_llm.kernels import activations as kernels
from tinygrad_llm.ops import activations as ops

CASES = [(ops.silu, {}), (ops.gelu, {}), (ops.gelu, {"approximate": "tanh"})]
NAMES = ["silu", "gelu", "gelu_tanh"]


@pytest.mark.parametrize("op, settings", CASES, ids=NAMES)
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 17), (0, 4), (), (130, 257)], ids=str)
def test_equals_reference(op, settings, shape):
    assert_equals_reference(op, [normal(shape, 1, 3)], normal(shape, 2), settings)


@pytest.mark.parametrize("op, settings", CASES, ids=NAMES)
def test_arrays_with_gaps_and_a_broadcast_gradient(op, settings):
    for x in layouts(normal((6, 10), 1)):
        assert_equals_reference(op, [x], normal((6, 10), 2)[:, ::-1], settings)
        assert_equals_reference(op, [x], np.float32([[2.0]]), settings)


@pytest.mark.parametrize("op, settings", CASES, ids=NAMES)
def test_as_accurate_as_torch(op, settings):
    functional = pytest.importorskip("torch", reason="pip install torch").nn.functional
    x = np.linspace(-12, 12, 100_003, dtype=np.float32)
    assert_as_accurate_as_torch(
        op,
        lambda t: getattr(functional, op.__name__)(t, **settings),
        [x],
        normal(x.shape, 3),
        settings,
    )


@pytest.mark.parametrize("op, settings", CASES, ids=NAMES)
def test_extreme_values(op, settings):
    x = np.float32([0, -0.0, 1e30, -1e30, 50, -50, 3e38, np.nan])
    y, dx = results(getattr(kernels, op.__name__), [x], settings, np.ones(8, np.float32))
    np.testing.assert_allclose(
        y, np.float32([0, 0, 1e30, 0, 50, 0, 3e38, np.nan]), rtol=1e-7, atol=1e-19
    )
    np.testing.assert_allclose(dx, [0.5, 0.5, 1, 0, 1, 0, 1, np.nan], rtol=1e-7, atol=1e-19)


@pytest.mark.parametrize("op, settings", CASES, ids=NAMES)
def test_deterministic(op, settings):
    assert_deterministic(op, [normal((129, 517), 1)], normal((129, 517), 2), settings)


def test_unknown_approximation_is_refused_as_by_the_reference():
    for room in (ops, kernels):
        with pytest.raises(ValueError, match="approximate='erf'; gelu knows 'none' and 'tanh'"):
            room.gelu(normal((2,)), approximate="erf")

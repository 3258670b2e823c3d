"""AdamW and the gradient's norm, compiled."""

import numpy as np
import pytest

from tests.kernel_laws import normal
from tinygrad_llm.kernels import optimizer as kernels
from tinygrad_llm.kernels import threads
from tinygrad_llm.ops import optimizer as ops

SETTINGS = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1, "scale": 0.5}


def train(room, size, dtype, steps=5):
    """[weights, gradients, mean, square] after some steps."""
    state = [normal(size, 1).astype(dtype), None, np.zeros(size, dtype), np.zeros(size, dtype)]
    for step in range(1, steps + 1):
        state[1] = normal(size, step + 10).astype(dtype)
        room.adamw(*state, step=step, **SETTINGS)
    return state


@pytest.mark.parametrize("size", [0, 1, 7, 1000, 40_001])
def test_adamw_equals_reference(size):
    for got, expected in zip(
        train(kernels, size, np.float32), train(ops, size, np.float64), strict=True
    ):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_adamw_equals_torch():
    torch = pytest.importorskip("torch", reason="pip install torch")
    weights = torch.nn.Parameter(torch.tensor(normal(1000, 1)))
    optimizer = torch.optim.AdamW([weights], lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
    for step in range(1, 6):
        weights.grad = torch.tensor(normal(1000, step + 10)) * 0.5
        optimizer.step()
    np.testing.assert_allclose(
        train(kernels, 1000, np.float32)[0], weights.detach().numpy(), rtol=1e-5, atol=1e-7
    )


def test_adamw_leaves_the_gradient_alone_and_passes_nan_on():
    state = [normal(20, i) ** 2 for i in range(4)]
    state[1][3] = np.nan
    before = state[1].copy()
    kernels.adamw(*state, step=1, **SETTINGS)
    np.testing.assert_array_equal(state[1], before)
    for array in (state[0], state[2], state[3]):
        assert np.flatnonzero(np.isnan(array)).tolist() == [3]


@pytest.mark.parametrize("size", [0, 1, 8192, 100_003])
def test_square_norm_equals_reference(size):
    gradients = normal(size, 1)
    got = kernels.square_norm(gradients)
    assert type(got) is float and got == pytest.approx(ops.square_norm(gradients), rel=1e-13)


def test_square_norm_does_not_overflow_and_passes_nan_on():
    assert kernels.square_norm(np.full(5, 1e30, np.float32)) == pytest.approx(5e60, rel=1e-6)
    assert np.isnan(kernels.square_norm(np.float32([1, np.nan])))


def test_deterministic():
    gradients, every = normal(100_003, 1), threads.get_num_threads()
    runs = [(train(kernels, 100_003, np.float32), kernels.square_norm(gradients)) for _ in range(2)]
    try:
        threads.set_num_threads(1)
        runs.append((train(kernels, 100_003, np.float32), kernels.square_norm(gradients)))
    finally:
        threads.set_num_threads(every)
    for state, norm in runs[1:]:
        assert norm == runs[0][1]
        assert all(np.array_equal(a, b) for a, b in zip(state, runs[0][0], strict=True))

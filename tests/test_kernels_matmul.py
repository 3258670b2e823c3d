"""Laws of the matrix product kernels: NumPy's values for every shape and layout, and one order of
summation.
"""

import numpy as np
import pytest

from tests.kernel_laws import assert_deterministic, assert_equals_reference
from tinygrad_llm.kernels import epilogues, threads
from tinygrad_llm.kernels.buffers import Room
from tinygrad_llm.kernels.gemm import BLOCK_COLUMNS, BLOCK_ROWS, DEPTH, gemm
from tinygrad_llm.kernels.matmul import linear
from tinygrad_llm.kernels.simd import COLUMNS, LANES, ROWS
from tinygrad_llm.ops import matmul as ops
from tinygrad_llm.kernels.tile import FEW

EDGES = [1, 2, LANES - 1, LANES, ROWS, ROWS + 1, COLUMNS, COLUMNS + 1, 3 * COLUMNS + 5]
SHAPES = [(m, k, n) for m in EDGES for k in (1, LANES, LANES + 3) for n in EDGES] + [
    (BLOCK_ROWS + 7, 40, 50),
    (20, DEPTH + 1, 30),
    (300, 2 * DEPTH + 5, 70),
    (10, 20, BLOCK_COLUMNS + 17),
    (BLOCK_ROWS * 2 + 1, DEPTH + 9, BLOCK_COLUMNS + COLUMNS + 1),
]


@pytest.fixture(params=[1, 2, 3])
def num_threads(request):
    before = threads.get_num_threads()
    if request.param > before:
        pytest.skip(f"{request.param} threads need as many cores; this process may use {before}")
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def laid_out(matrix, layout):
    """The same numbers with other strides."""
    if layout == "columns":
        return np.asfortranarray(matrix)
    if layout == "gaps":
        wide = np.full((2 * matrix.shape[0], 3 * matrix.shape[1]), np.nan, np.float32)
        wide[::2, 1::3] = matrix
        return wide[::2, 1::3]
    if layout == "reversed":
        return np.ascontiguousarray(matrix[::-1, ::-1])[::-1, ::-1]
    return matrix


def assert_product(y, a, b, shift=0):
    """Within the error bound of a sum of K rounded products."""
    bound = 1e-6 * (np.abs(a.astype(np.float64)) @ np.abs(b) + np.abs(shift)) + 1e-37
    assert y.dtype == np.float32
    assert np.all(np.abs(y - (a.astype(np.float64) @ b + shift)) <= bound)


@pytest.mark.parametrize("layout", ["rows", "columns", "gaps", "reversed"])
def test_every_shape_and_layout(num_threads, layout):
    for m, k, n in SHAPES:
        a, b, bias = normal(m, k), normal(k, n, seed=1), normal(n, seed=2)
        epilogue = epilogues.arguments(bias=laid_out(bias[None], layout)[0])
        y = gemm(laid_out(a, layout), laid_out(b, layout), epilogue=epilogue)
        assert_product(y, a, b, bias)


@pytest.mark.parametrize("k, n", [(40, 50), (DEPTH + 9, 3 * COLUMNS), (64, BLOCK_COLUMNS + 40)])
def test_a_row_alone_equals_that_row_in_a_batch_bit_for_bit(num_threads, k, n):
    a, b = normal(BLOCK_ROWS + 3, k), normal(n, k, seed=1).T
    together = gemm(a, b)
    for few in (1, 2, FEW, FEW + 1, ROWS, ROWS + FEW):
        np.testing.assert_array_equal(gemm(a[-few:], b), together[-few:])
    added = gemm(a[:FEW], b, together[:FEW].copy(), accumulate=True)
    np.testing.assert_array_equal(added, gemm(a, b, together.copy(), accumulate=True)[:FEW])


def test_linear_adds_weight_and_bias_gradients_to_arrays_it_is_given():
    x, weight, bias = normal(50, 20), normal(30, 20, seed=1), normal(30, seed=2)
    dy, everything = normal(50, 30, seed=3), (True, True, True)
    _, backward = linear(x, weight, bias)
    dx, dweight, dbias = backward(dy, everything)
    totals = np.ones((30, 20), np.float32), np.ones(30, np.float32)
    again, *added = backward(dy, everything, (None, *(Room(total, True) for total in totals)))
    assert np.array_equal(again, dx)
    assert all(mine is given for mine, given in zip(added, totals, strict=True))
    np.testing.assert_allclose(totals[0], dweight + 1, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(totals[1], dbias + 1, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"dropout_p": 0.4, "seed": 2**63 + 5}], ids=str)
def test_linear_residual_over_many_tiles(num_threads, settings):
    arrays = [normal(203, 70), normal(157, 70, seed=1), normal(157, seed=2), normal(203, 157)]
    dy = normal(203, 157, seed=3)
    assert_equals_reference(ops.linear_residual, arrays, dy, settings)
    assert_deterministic(ops.linear_residual, arrays, dy, settings)

"""Products with weights in blocks: the values and gradients of the widened weight, for few rows and
many, through every operation that takes a weight.
"""

import weakref

import numpy as np
import pytest

from tests.kernel_laws import normal
from tinygrad_llm import ops
from tinygrad_llm.blocks import BLOCKS, quantized, widened
from tinygrad_llm.kernels import threads, weights
from tinygrad_llm.kernels.epilogues import RESIDUAL, arguments
from tinygrad_llm.kernels.simd import COLUMNS
from tinygrad_llm.kernels.weights import FEW, by_weight, by_weight_rows
from tinygrad_llm.twins import kernel_of

every_kind = pytest.mark.parametrize("kind", sorted(BLOCKS))
ROWS = [0, 1, 3, 4, 7, FEW, FEW + 1, 60]


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * max(np.abs(b).max(initial=0), 1))


@every_kind
@pytest.mark.parametrize("n, k", [(1, 32), (COLUMNS, 64), (2 * COLUMNS + 5, 160)])
def test_both_products_for_few_rows_and_many(kind, n, k, monkeypatch):
    monkeypatch.setattr(weights, "SLAB", COLUMNS * k)  # so that there are several
    blocks = quantized(normal((n, k), 1), kind)
    wide, bias = widened(blocks).astype(np.float64), normal((n,), 2)
    for m in ROWS:
        x, dy = normal((m, k), 3), normal((m, n), 4)
        onto = arguments(RESIDUAL, bias, dy)
        close(by_weight_rows(x, blocks), x @ wide.T)
        close(by_weight_rows(x, blocks, epilogue=onto), x @ wide.T + bias + dy)
        close(by_weight(dy, blocks), dy @ wide)
        close(by_weight(dy, blocks, np.ones((m, k), np.float32), accumulate=True), dy @ wide + 1)


@every_kind
def test_the_same_bits_with_any_number_of_threads_and_rows(kind):
    blocks, x, every = quantized(normal((500, 96), 1), kind), normal((9, 96)), _all_threads()
    together = by_weight_rows(x, blocks)
    try:
        threads.set_num_threads(1)
        np.testing.assert_array_equal(by_weight_rows(x, blocks), together)
    finally:
        threads.set_num_threads(every)
    for m in range(1, 9):
        np.testing.assert_array_equal(by_weight_rows(x[-m:], blocks), together[-m:])


def _all_threads():
    return threads.get_num_threads()


def test_a_weight_with_gaps():
    blocks = quantized(normal((6, 64), 1), "Q8_0")
    for rows in (1, FEW + 1):
        x = normal((rows, 64))
        close(by_weight_rows(x, blocks[::2]), x @ widened(blocks)[::2].T)


W, W2 = (normal((96, 64), 1) / 8, normal((64, 96), 2) / 8)
CASES = {
    "linear": ([0, W, normal((96,), 3)], {}),
    "linear_residual": ([0, W, normal((96,), 3), 96], {"dropout_p": 0.4, "seed": 5}),
    "feed_forward": ([0, W, normal((96,), 3), W2, None, 64], {"dropout_p": 0.4, "seed": 5}),
    "swiglu": ([0, W, None, W[::-1].copy(), None, W2, normal((64,), 4), 64], {}),
}


@pytest.mark.parametrize("rows", [2, FEW + 9])
@pytest.mark.parametrize("name", CASES)
def test_operations_beside_their_references(name, rows, monkeypatch):
    """Weights in blocks are frozen; all other gradients are those of the reference in float64."""
    monkeypatch.setattr(weights, "SLAB", COLUMNS * 64)
    operands, settings = CASES[name]
    blocks = [quantized(x, "Q4_1") if np.ndim(x) == 2 else x for x in operands]
    blocks[0] = normal((rows, 64), 6)
    if isinstance(blocks[-1], int):
        blocks[-1] = normal((rows, blocks[-1]), 7)
    needs = [x is not None and x.dtype.kind == "f" for x in blocks]
    results = []
    for function, dtype in ((kernel_of(ops.TABLE[name]), np.float32), (ops.TABLE[name], float)):
        arrays = [x.astype(dtype) if need else x for x, need in zip(blocks, needs)]
        y, backward = function(*arrays, **settings)
        gradients = backward(normal(y.shape, 8).astype(dtype), needs)
        results.append([y, *(g for g, need in zip(gradients, needs) if need)])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_the_loss_behind_a_last_layer_in_blocks():
    blocks, x = quantized(normal((70, 64), 1), "Q8_0"), normal((40, 64))
    targets, needs = np.arange(40), (True, False)
    op = ops.TABLE["linear_cross_entropy"]
    y, backward = kernel_of(op)(x, blocks, targets=targets)
    expected, theirs = op(x.astype(float), blocks, targets=targets)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    close(backward(np.float32(1), needs)[0], theirs(1.0, needs)[0])


def test_an_input_is_kept_for_the_gradient_of_floats_alone():
    floats = normal((32, 32), 1)
    blocks = quantized(floats, "Q8_0")
    for weight, kept in ((floats, True), (blocks, False)):
        x, residual = normal((4, 32)), normal((4, 32), 2)
        seen = weakref.ref(x)
        backwards = [
            kernel_of(ops.matmul.linear)(x, weight, None)[1],
            kernel_of(ops.matmul.linear_residual)(x, weight, None, residual)[1],
            kernel_of(ops.swiglu.swiglu)(x, weight, None, weight, None, weight, None, residual)[1],
        ]
        del x
        assert len(backwards) == 3 and (seen() is not None) == kept


@pytest.mark.parametrize("in_blocks", [(0,), (1,)])
def test_one_of_two_gates_in_blocks(in_blocks):
    """The other is of floats, so its gradient needs the input."""
    pair = [normal((32, 32), seed) for seed in (1, 2)]
    for i in in_blocks:
        pair[i] = quantized(pair[i], "Q8_0")
    arrays = normal((4, 32)), pair[0], None, pair[1], None, normal((32, 32), 3), None
    arrays, dy = (*arrays, normal((4, 32), 4)), normal((4, 32), 5)
    needs = tuple(a is not None and a.dtype == np.float32 for a in arrays)
    _, ours = kernel_of(ops.swiglu.swiglu)(*arrays)
    _, plain = ops.swiglu.swiglu(*arrays)
    for a, b in zip(ours(dy, needs), plain(dy, needs), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            close(a, b)

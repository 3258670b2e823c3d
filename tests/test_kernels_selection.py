"""embedding and dropout, compiled."""

import numpy as np
import pytest

from tests.kernel_laws import (
    assert_deterministic,
    assert_equals_reference,
    layouts,
    normal,
    results,
)
from tinygrad_llm.kernels import selection as kernels
from tinygrad_llm.ops import selection as ops


def ids(shape, size, seed=3):
    return np.random.default_rng(seed).integers(0, size, shape)


@pytest.mark.parametrize(
    "rows, width, shape",
    [
        (1, 1, (1,)),
        (5, 3, (2, 7)),
        (65, 128, (12, 64)),
        (7, 4, (0,)),
        (7, 4, ()),
        (3, 0, (2,)),
        (5, 17, (2, 3, 4)),
    ],
)
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16])
def test_embedding_equals_reference(rows, width, shape, dtype):
    settings = {"ids": np.asarray(ids(shape, rows), dtype)}
    assert_equals_reference(
        ops.embedding, [normal((rows, width), 1)], normal((*shape, width), 2), settings
    )


def test_embedding_sums_ten_thousand_equal_ids():
    looked_up = np.where(np.arange(10_000) % 3, 4, ids((10_000,), 50))
    dy = (
        np.random.default_rng(5).integers(-8, 9, (10_000, 24)).astype(np.float32)
    )  # exact in any order
    dweight = results(kernels.embedding, [normal((50, 24), 1)], {"ids": looked_up}, dy)[1]
    expected = np.zeros((50, 24), np.float32)
    np.add.at(expected, looked_up, dy)
    np.testing.assert_array_equal(dweight, expected)
    assert_deterministic(
        ops.embedding, [normal((50, 24), 1)], normal(dy.shape, 6), {"ids": looked_up}
    )


def test_embedding_of_any_layout():
    for weight in layouts(normal((8, 6), 1)):
        assert_equals_reference(
            ops.embedding, [weight], np.float32([2.0]), {"ids": ids((4, 10), 8)[:, ::2]}
        )


@pytest.mark.parametrize(
    "wrong, message",
    [
        ([0, 8], "id 8 is outside the 8 rows"),
        ([-1], "id -1 is outside"),
        ([0.0], "ids are float64"),
    ],
)
def test_wrong_ids_are_refused_as_by_the_reference(wrong, message):
    for room in (ops, kernels):
        with pytest.raises(ValueError, match="embedding: " + message):
            room.embedding(normal((8, 6)), ids=np.array(wrong))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999])
def test_dropout_drops_what_the_reference_drops(p, seed):
    x = np.ones((7, 5001), np.float32)
    y, dx = results(kernels.dropout, [x], {"p": p, "seed": seed}, x)
    expected = ops.keep(x.shape, p=p, seed=seed) * np.float32(1 / (1 - p))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0, 4), (130, 257)], ids=str)
def test_dropout_equals_reference(shape):
    assert_equals_reference(
        ops.dropout, [normal(shape, 1)], normal(shape, 2), {"p": 0.3, "seed": 9}
    )


def test_dropout_of_any_layout_and_special_values():
    for x in layouts(normal((6, 10), 1)):
        assert_equals_reference(ops.dropout, [x], np.float32([2.0]), {"p": 0.3, "seed": 9})
    special = np.float32([np.nan, 1e30] * 8)
    assert_equals_reference(ops.dropout, [special], special, {"p": 0.5, "seed": 9})
    assert_deterministic(
        ops.dropout, [normal((301, 130), 1)], normal((301, 130), 2), {"p": 0.3, "seed": 9}
    )


def test_wrong_probabilities_and_seeds_are_refused_as_by_the_reference():
    for room in (ops, kernels):
        with pytest.raises(ValueError, match=r"dropout probability 1.0 is not in \[0, 1\)"):
            room.dropout(normal((2,)), p=1.0, seed=0)
        with pytest.raises(ValueError, match="dropout seed -1 is not in"):
            room.dropout(normal((2,)), p=0.5, seed=-1)

"""Cross-entropy, compiled."""

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
from tinygrad_llm.kernels import losses as kernels
from tinygrad_llm.kernels.buffers import Room
from tinygrad_llm.ops import losses as ops

ONE = np.ones((), np.float32)


def ids(shape, size, seed=3):
    return np.random.default_rng(seed).integers(0, size, shape)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "shape", [(5,), (1, 1), (3, 7), (2, 3, 65), (300, 100), (8, 5003)], ids=str
)
def test_equals_reference(shape, reduction, smoothing):
    targets = np.asarray(ids(shape[:-1], shape[-1]))
    settings = {"targets": targets, "reduction": reduction, "label_smoothing": smoothing}
    assert_equals_reference(ops.cross_entropy, [normal(shape, 1, 4)], 3 * ONE, settings)


def test_rows_that_do_not_count():
    targets = ids((6, 4), 9).astype(np.int32)
    targets[:, 1] = -1
    settings = {"targets": targets, "ignore_index": -1}
    dx = assert_equals_reference(ops.cross_entropy, [normal((6, 4, 9), 1)], ONE, settings)[1]
    assert not dx[:, 1].any() and dx[:, 0].all()


def test_no_row_counts():
    settings = {"targets": np.full(4, -100), "reduction": "sum"}
    y, dx = results(kernels.cross_entropy, [normal((4, 3))], settings, ONE)
    assert y == 0 and not dx.any()
    with pytest.raises(ValueError, match="none of 4 targets counts"):
        kernels.cross_entropy(normal((4, 3)), targets=np.full(4, -100))


@pytest.mark.parametrize("block", [1 << 24, 700, 1])
@pytest.mark.parametrize("reduction, smoothing", [("mean", 0.0), ("sum", 0.0), ("sum", 0.1)])
def test_last_layer_and_loss_in_blocks_of_rows(monkeypatch, block, reduction, smoothing):
    monkeypatch.setattr(kernels, "LOGITS", block)
    targets = ids((5, 8), 67)
    targets[1, 2:5] = -100
    settings = {"targets": targets, "reduction": reduction, "label_smoothing": smoothing}
    arrays = [normal((5, 8, 20), 1), normal((67, 20), 2)]
    assert_equals_reference(ops.linear_cross_entropy, arrays, 3 * ONE, settings)
    assert_deterministic(ops.linear_cross_entropy, arrays, ONE, settings)


def test_last_layer_and_loss_go_back_twice_and_into_a_room(monkeypatch):
    monkeypatch.setattr(kernels, "LOGITS", 300)
    arrays, settings = [normal((12, 7), 1), normal((50, 7), 2)], {"targets": ids((12,), 50)}
    _, backward = kernels.linear_cross_entropy(*arrays, **settings)
    dx, dweight = backward(ONE, [True, True])
    for add, before in ((True, 1), (False, np.nan)):
        array = np.full((50, 7), before, np.float32)
        again, same = backward(ONE, [True, True], [None, Room(array, add)])
        assert same is array and np.array_equal(again, dx)
        np.testing.assert_allclose(array, dweight + add, rtol=1e-5, atol=1e-6)


def test_layouts():
    for logits in layouts(normal((6, 10), 1)):
        assert_equals_reference(ops.cross_entropy, [logits], ONE, {"targets": ids((12,), 10)[::2]})


def test_special_values():
    inf = np.inf
    logits = np.float32([[0, -inf, 1], [0, -inf, 1], [1e30, 0, 1], [200, 0, -200], [np.nan, 0, 1]])
    for row, target in enumerate((0, 1, 0, 2, 1)):
        assert_equals_reference(
            ops.cross_entropy, [logits[row : row + 1]], ONE, {"targets": np.array([target])}
        )


@pytest.mark.parametrize("vocabulary", [65, 50_257])
def test_as_accurate_as_torch(vocabulary):
    torch = pytest.importorskip("torch", reason="pip install torch")
    rows = 20_000 // vocabulary + 8
    targets = ids((rows,), vocabulary)
    assert_as_accurate_as_torch(
        ops.cross_entropy,
        lambda x: torch.nn.functional.cross_entropy(x, torch.tensor(targets)),
        [normal((rows, vocabulary), 1, 3)],
        ONE,
        {"targets": targets},
    )


def test_deterministic():
    assert_deterministic(
        ops.cross_entropy, [normal((301, 130), 1)], ONE, {"targets": ids((301,), 130)}
    )


@pytest.mark.parametrize(
    "targets, message",
    [
        (np.array([0, 3]), "id 3 is outside the 3 rows"),
        (np.array([0, -1]), "id -1 is outside"),
        (np.array([0.0, 1.0]), "ids are float64"),
        (np.array([0]), r"targets of shape \(1,\) do not fit"),
    ],
)
def test_wrong_targets_are_refused_as_by_the_reference(targets, message):
    for room in (ops, kernels):
        with pytest.raises(ValueError, match=message):
            room.cross_entropy(normal((2, 3)), targets=targets)
    with pytest.raises(ValueError, match="'none'; cross_entropy knows 'mean' and 'sum'"):
        kernels.cross_entropy(normal((2, 3)), targets=np.array([0, 1]), reduction="none")

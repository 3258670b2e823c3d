"""Accuracy, precision and recall of one small matrix, counted by hand; which of two is better."""

import numpy as np
import pytest

from tinygrad_llm.finetuning.confusion import Confusion

LABELS = "ham", "spam", "eggs"
P = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.9, 0.1, 0.0]])


def test_by_hand():
    """Given: ham, ham, spam, ham; true: ham, spam, spam, eggs."""
    found = Confusion.of(LABELS, np.array([0, 1, 1, 2]), P)
    assert found.counts.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert found.accuracy == 0.5
    np.testing.assert_allclose(found.precision, [1 / 3, 1, 0])
    np.testing.assert_allclose(found.recall, [1, 1 / 2, 0])
    wanted = -np.log([0.7, 0.3, 0.8, 1e-30]).mean()
    assert found.loss == pytest.approx(wanted)
    table = found.table().splitlines()
    assert table[2].split() == ["spam", "1", "1", "0", "50.00%"]
    assert table[4].split() == ["precision", "33.33%", "100.00%", "0.00%"]
    assert len({len(line) for line in table[:4]}) == 1


def test_fewer_errors_rank_first_then_the_smaller_loss():
    one = Confusion(("a", "b"), np.array([[5, 0], [1, 4]]), 0.9)
    two = Confusion(("a", "b"), np.array([[5, 0], [2, 3]]), 0.1)
    three = Confusion(("a", "b"), np.array([[5, 0], [1, 4]]), 0.8)
    assert sorted([one, two, three], key=lambda c: c.rank) == [three, one, two]


def test_many_labels_are_a_line_each():
    """Of 21 texts, one of each label, all are given label 0."""
    labels = tuple(f"label {i}" for i in range(21))
    counts = np.zeros((21, 21), int)
    counts[:, 0] = 1
    lines = Confusion(labels, counts, 1.0).table().splitlines()
    assert lines[0].split() == ["label", "texts", "precision", "recall"] and len(lines) == 22
    assert lines[1].split() == ["label", "0", "1", "4.76%", "100.00%"]
    assert lines[2].split() == ["label", "1", "1", "0.00%", "0.00%"]

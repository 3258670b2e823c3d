"""Rotary positions: a case by hand, and that products depend on distances alone."""

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.nn.positions import rotation, sinusoids
from tinygrad_llm.tensor import Tensor


def turned(x, *places):
    cos, sin = rotation(*places)
    return F.rotary(x, cos=cos, sin=sin)


def test_a_case_by_hand():
    """Width 4, base 100: the pairs (x0, x2) and (x1, x3) turn by 1 and by 1 / 10 a place.

    At place 0 nothing turns. At place 1, (1, 0) becomes (cos 1, sin 1) and (0, 1) becomes
    (-sin 0.1, cos 0.1).
    """
    y = turned([[1.0, 0.0, 0.0, 1.0]] * 2, 0, 2, 4, 100.0).data
    np.testing.assert_array_equal(y[0], [1, 0, 0, 1])
    expected = [np.cos(1), -np.sin(0.1), np.sin(1), np.cos(0.1)]
    np.testing.assert_allclose(y[1], expected, atol=1e-7)


def test_the_tables_that_are_kept_cannot_be_written_to():
    for table in rotation(0, 2, 4, 100.0):
        with pytest.raises(ValueError):
            table[0] = 1


def test_products_depend_on_the_distance_alone_and_lengths_stay():
    rng = np.random.default_rng(0)
    q, k = (np.repeat(rng.standard_normal((1, 8), dtype=np.float32), 30, 0) for _ in range(2))
    q_turned, k_turned = (turned(x, 5, 35, 8, 10000.0).data for x in (q, k))
    scores = q_turned @ k_turned.T
    for distance in range(-29, 30):
        np.testing.assert_allclose(np.ptp(np.diagonal(scores, distance)), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(q_turned, axis=1), np.linalg.norm(q, axis=1), 1e-6)
    assert np.ptp(scores[0]) > 0.1


def test_a_start_continues_where_the_text_stood():
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 6), dtype=np.float32)
    whole = turned(x, 0, 9, 6, 10000.0).data
    rest = turned(x[:, :, 4:], 4, 9, 6, 10000.0).data
    np.testing.assert_array_equal(rest, whole[:, :, 4:])


def test_the_gradient_is_turned_back():
    x = Tensor(np.eye(6, dtype=np.float32), requires_grad=True)
    y = turned(x, 0, 6, 6, 10.0)
    F.sum(y * y).backward()
    np.testing.assert_allclose(x.grad, 2 * x.data, atol=1e-6)


def test_waves_are_the_papers_in_another_order():
    """Place 3 of width 6: pair i has the angle 3 / 10000^(i / 3)."""
    rows = sinusoids(5, 6)
    angles = 3 / 10000 ** (np.arange(3) / 3)
    np.testing.assert_allclose(rows[3], [*np.sin(angles), *np.cos(angles)], rtol=1e-6)
    assert rows.dtype == np.float32 and sinusoids(2, 5).shape == (2, 5)
    with pytest.raises(ValueError):
        rows[0] = 1

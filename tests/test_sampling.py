"""Sampling: beside transformers' logits processors, by hand, and at the borders of every range."""

import math

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference import sampling

LOGITS = np.random.default_rng(0).standard_normal((50, 40), dtype=np.float32) * 4
IDS = np.random.default_rng(1).integers(40, size=(50, 7))


def theirs(processor, *args):
    """A processor of transformers on LOGITS."""
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    made = getattr(transformers, processor)(*args)
    return made(torch.tensor(IDS), torch.tensor(LOGITS)).numpy()


@pytest.mark.parametrize("k", [1, 2, 7, 39, 40, 100])
def test_top_k_is_that_of_transformers(k):
    np.testing.assert_array_equal(sampling.top_k(LOGITS, k), theirs("TopKLogitsWarper", k))


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.999])
def test_top_p_is_that_of_transformers(p):
    np.testing.assert_array_equal(sampling.top_p(LOGITS, p), theirs("TopPLogitsWarper", p))


@pytest.mark.parametrize("penalty", [0.5, 1.2, 5.0])
def test_repetition_penalty_is_that_of_transformers(penalty):
    ours = sampling.repetition_penalty(LOGITS, IDS, penalty)
    np.testing.assert_allclose(ours, theirs("RepetitionPenaltyLogitsProcessor", penalty), rtol=1e-6)
    assert ours.dtype == np.float32


@pytest.mark.parametrize("value", [0.1, 0.7, 1.0, 3.0])
def test_temperature_is_that_of_transformers(value):
    ours = sampling.probabilities(sampling.temperature(LOGITS, value))
    expected = sampling.probabilities(theirs("TemperatureLogitsWarper", value))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-12)


def test_by_hand():
    """Probabilities 0.5, 0.3, 0.15, 0.05."""
    logits = np.log(np.array([[0.15, 0.5, 0.05, 0.3]]))
    kept = {p: np.isfinite(sampling.top_p(logits, p))[0].tolist() for p in (0.4, 0.6, 0.81, 0.97)}
    assert kept == {
        0.4: [False, True, False, False],
        0.6: [False, True, False, True],
        0.81: [True, True, False, True],
        0.97: [True, True, True, True],
    }
    assert np.isfinite(sampling.top_k(logits, 2))[0].tolist() == [False, True, False, True]
    doubled = sampling.probabilities(sampling.temperature(logits, 0.5))  # p^2 / sum p^2
    np.testing.assert_allclose(doubled[0], np.array([0.0225, 0.25, 0.0025, 0.09]) / 0.365)
    penalised = sampling.repetition_penalty(np.array([[2.0, -2, 2]]), np.array([[0, 1, 0]]), 4.0)
    assert penalised.tolist() == [[0.5, -8.0, 2.0]]


@pytest.mark.parametrize("value", [0, 5e-324, 1e-40, 1e-3])
def test_the_coldest_temperatures_leave_the_best_token(value):
    cold = sampling.probabilities(sampling.temperature(LOGITS, value))
    np.testing.assert_allclose(cold.max(axis=-1), 1, atol=1e-3)
    np.testing.assert_array_equal(cold.argmax(axis=-1), LOGITS.argmax(axis=-1))


def test_the_hottest_temperature_makes_all_tokens_equal():
    hot = sampling.probabilities(sampling.temperature(LOGITS, 1e300))
    np.testing.assert_allclose(hot, 1 / 40)


def test_neutral_settings_change_nothing():
    assert sampling.top_k(LOGITS, 0) is LOGITS and sampling.top_p(LOGITS, 1.0) is LOGITS
    np.testing.assert_array_equal(sampling.repetition_penalty(LOGITS, IDS, 1.0), LOGITS)


def test_ties_with_the_kth_are_kept_and_one_token_always_stays():
    level = np.zeros((2, 5))
    assert np.isfinite(sampling.top_k(level, 2)).all()
    assert np.isfinite(sampling.top_p(level, 1e-17)).sum(axis=-1).tolist() == [1, 1]


def test_draws_follow_the_probabilities_and_the_seed():
    logits = np.insert(np.log([0.6, 0.3, 0.1]), 1, -math.inf)
    many = np.broadcast_to(logits, (20_000, 4))
    drawn = sampling.draw(many, np.random.default_rng(3))
    counts = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(counts, [0.6, 0, 0.3, 0.1], atol=0.015)
    np.testing.assert_array_equal(drawn, sampling.draw(many, np.random.default_rng(3)))
    assert (drawn != sampling.draw(many, np.random.default_rng(4))).any()


def test_probabilities_of_a_large_vocabulary_add_up():
    logits = np.random.default_rng(0).standard_normal((2, 50257), dtype=np.float32)
    assert abs(sampling.probabilities(logits).sum(axis=-1) - 1).max() < 1e-12


@pytest.mark.parametrize(
    "function, value, range_",
    [
        ("top_k", -1, "whole number at least 0"),
        ("top_k", 2.0, "whole number"),
        ("top_k", True, "whole number"),
        ("top_p", 0, "above 0 and at most 1"),
        ("top_p", 1.01, "at most 1"),
        ("top_p", math.nan, "at most 1"),
        ("temperature", -0.1, "at least 0"),
        ("temperature", math.inf, "at least 0"),
        ("temperature", "1", "a number"),
        ("temperature", None, "a number"),
        ("repetition_penalty", 0, "above 0"),
        ("repetition_penalty", math.nan, "above 0"),
    ],
)
def test_a_value_outside_its_range_is_named_with_the_range(function, value, range_):
    args = (LOGITS, IDS) if function == "repetition_penalty" else (LOGITS,)
    with pytest.raises(InputError, match=f"{function} is {value!r}; it must be .*{range_}"):
        getattr(sampling, function)(*args, value)

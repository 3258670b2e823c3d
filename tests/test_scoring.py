"""Exact match and token F1, solved by hand."""

import pytest

from tinygrad_llm.finetuning.scoring import exact_match, normalized, score_answers, token_f1


def test_normalization():
    """Lower case, then no punctuation, then no articles as whole words, then single spaces."""
    assert normalized(" The Cat,  a HAT\n") == "cat hat"
    assert normalized("Another theory") == "another theory"
    assert normalized("it's an.apple") == "its anapple"
    assert normalized("") == normalized("The!") == ""


@pytest.mark.parametrize(
    "answer, wanted, match, f1",
    [
        ("The answer is: 42.", "answer is 42", True, 1.0),
        # given {he, goes, home}, wanted {he, goes, to, park}: 2 common, p 2/3, r 2/4
        ("He goes home", "He goes to the park", False, 2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2)),
        # "no no no" and "no no yes" share "no" twice: p = r = 2/3
        ("no no no", "no no yes", False, 2 / 3),
        ("yes", "no", False, 0.0),
        ("", "no", False, 0.0),
        ("the", "a", True, 1.0),
        ("", "", True, 1.0),
    ],
)
def test_by_hand(answer, wanted, match, f1):
    assert exact_match(answer, wanted) is match
    assert token_f1(answer, wanted) == pytest.approx(f1)


def test_means():
    score = score_answers(["Yes.", "no", "x y"], ["yes", "yes", "x z"])
    assert score == pytest.approx((1 / 3, (1 + 0 + 0.5) / 3))
    assert str(score) == "exact match 33.3%, token F1 0.500"
    with pytest.raises(ValueError):
        score_answers(["a"], [])

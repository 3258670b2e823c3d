"""Answers beside the wanted ones, without a judge: exact match and token F1.

As in SQuAD, Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerScore(NamedTuple):
    """Means over all answers, each from 0 to 1."""

    exact_match: float  # the share of answers that are the wanted one, both normalized
    f1: float  # of the words that both have

    def __str__(self) -> str:
        return f"exact match {self.exact_match:.1%}, token F1 {self.f1:.3f}"


def normalized(text: str) -> str:
    """The text in lower case, without ASCII punctuation and articles, its white space single.

    >>> normalized("The  cat's hat, a HAT!")
    'cats hat hat'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, wanted: str) -> bool:
    """Whether both are the same when normalized."""
    return normalized(answer) == normalized(wanted)


def token_f1(answer: str, wanted: str) -> float:
    """2 p r / (p + r) of the words: p of the answer's are wanted, r of the wanted are there.

    1 where both have no word, 0 where one of them has none.
    """
    given, right = normalized(answer).split(), normalized(wanted).split()
    common = sum((Counter(given) & Counter(right)).values())
    if not (given and right):
        return float(given == right)
    return 2 * common / (len(given) + len(right))


def score_answers(answers: Sequence[str], wanted: Sequence[str]) -> AnswerScore:
    """The means over pairs of an answer and the wanted one."""
    pairs = list(zip(answers, wanted, strict=True))
    matches = sum(exact_match(*pair) for pair in pairs)
    return AnswerScore(
        matches / max(len(pairs), 1), sum(token_f1(*pair) for pair in pairs) / max(len(pairs), 1)
    )

"""What a recipe tells whoever runs it: nothing by default, lines and bars on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tinygrad_llm.training.evaluation import Score
from tinygrad_llm.training.loop import StepReport

T = TypeVar("T")


class Reporter:
    """Override what you want to hear of."""

    def note(self, text: str) -> None:
        """One line of news."""

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """The same items, counted while they pass; len() of an item is what is counted where it has one."""
        return iter(items)

    def started(self, done: int, steps: int) -> None:
        """Training starts after `done` of `steps` steps."""

    def stepped(self, report: StepReport) -> None:
        """One update was made."""

    def evaluated(self, step: int, score: Score) -> None:
        """The held-out text was scored."""

    def sampled(self, step: int, text: str) -> None:
        """The model wrote something."""

    def finished(self) -> None:
        """Training is over."""

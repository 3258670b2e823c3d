"""What a recipe tells whoever runs it: nothing by default, lines and bars on the command line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from tinygrad_llm.training.loop import StepReport


class Reporter:
    """Override what you want to hear of."""

    def note(self, text: str) -> None:
        """One line of news."""

    def warn(self, text: str) -> None:
        """One line about what was asked for and is not done."""

    def progress(
        self, what: str, total: int, unit: str = "B"
    ) -> AbstractContextManager[Callable[[int], object]]:
        """Work of `total` bytes, or of another unit, begins; the function that comes with the block
        is told of each part done.
        """
        return nullcontext(lambda done: None)

    def advanced(self, stage: str, done: int, total: int | None) -> None:
        """A stage of other work: `done` of `total` (None: unknown) is done."""

    def started(self, done: int, steps: int) -> None:
        """Training starts after `done` of `steps` steps."""

    def stepped(self, report: StepReport) -> None:
        """One update was made."""

    def evaluated(self, step: int, score: object) -> None:
        """The held-out part was scored; str(score) says it in words."""

    def sampled(self, step: int, text: str) -> None:
        """The model wrote something."""

    def finished(self) -> None:
        """Training is over."""

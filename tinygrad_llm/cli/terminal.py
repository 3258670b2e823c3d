"""A recipe's news on a terminal: lines on standard output, bars and warnings on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.training.loop import StepReport


class TerminalReporter(Reporter):
    """Bars with loss, speed and time left; lines for what stays. unit: what a step counts."""

    def __init__(self, unit: str = "tokens"):
        self.unit = unit
        self.bar: tqdm | None = None

    def note(self, text: str) -> None:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def warn(self, text: str) -> None:
        tqdm.write(f"tinygrad-llm: {text}", file=sys.stderr)

    @contextmanager
    def progress(self, what: str, total: int, unit: str = "B") -> Iterator[Callable[[int], object]]:
        options = {"unit": unit, "unit_scale": unit == "B", "delay": 1, "leave": False}
        with tqdm(total=total, desc=what, **options) as bar:
            yield bar.update

    def advanced(self, stage: str, done: int, total: int | None) -> None:
        if self.bar is None or self.bar.desc != stage:
            self.close()
            self.bar = tqdm(desc=stage, total=total, delay=1, leave=False)
        self.bar.update(done - self.bar.n)
        if done == total:
            self.close()

    def started(self, done: int, steps: int) -> None:
        self.close()
        self.bar = tqdm(total=steps, initial=done, desc="training", unit="step", dynamic_ncols=True)

    def stepped(self, report: StepReport) -> None:
        speed = report.tokens / report.seconds
        text = f"loss {report.loss:.3f}, {speed:,.0f} {self.unit}/s"
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update()

    def evaluated(self, step: int, score: object) -> None:
        self.note(f"step {step}: held-out {score}")

    def sampled(self, step: int, text: str) -> None:
        self.note(f"--- sample at step {step}\n{text}\n---")

    def finished(self) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away, if there is one."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

"""Where the time of a training step goes: every operation, and what is left for Python."""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.recipes.costs import resized
from tinygrad_llm.recipes.forecast import check_memory
from tinygrad_llm.recipes.kinds import KINDS
from tinygrad_llm.recipes.limits import Limits, measure_limits
from tinygrad_llm.recipes.op_times import OpTimes, Row
from tinygrad_llm.recipes.settings import Settings
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.optimizer import AdamW


@dataclass(frozen=True)
class Profile:
    """rows: of one step, the dearest first. step: seconds of a whole step with nobody watching.
    python: seconds of the same step on arrays of a few numbers, where little but Python is left.
    """

    rows: list[Row]
    step: float
    python: float
    tokens: int
    limits: Limits

    @property
    def outside(self) -> float:
        """Seconds of the step that no operation took: the tape, modules, the loop's bookkeeping."""
        return self.step - sum(row.seconds for row in self.rows)


class _Steps:
    """Training steps of a model on random ids, one at a call, which returns its seconds."""

    def __init__(self, settings: Settings):
        self.rng = np.random.default_rng(0)
        self.kind = KINDS[settings.run.model]
        self.model = self.kind.build(settings.model, rng=self.rng).train()
        self.optimizer = AdamW(self.model.parameters(), settings.adamw)
        self.clip, config = settings.loop.clip, settings.model
        shape = settings.loop.batch_size, config.n_positions + 1
        ids = self.rng.integers(config.vocab_size, size=shape)
        self.batch = self.kind.trial(ids, config.vocab_size)

    def __call__(self) -> float:
        start = time.perf_counter()
        train_step(
            self.model,
            self.kind.objective,
            self.optimizer,
            [self.batch],
            lr=1e-4,
            clip=self.clip,
            rng=self.rng,
        )
        return time.perf_counter() - start


def profile(settings: Settings, steps: int = 10) -> Profile:
    """Profile one training step or more with these settings, on random ids.

    In turns: a step that nobody watches, one that is watched, and the shrunk one; `steps` of each,
    and the median of each. What compiles comes before.
    """
    check_memory(settings.model, settings.loop.batch_size)
    whole, small = _Steps(settings), _Steps(_shrunk(settings))
    whole(), small()
    plain, tiny, watched = [], [], []
    for _ in range(steps):
        plain.append(whole())
        watched.append(times := OpTimes())
        with times.watching():
            whole()
        small()  # the large step drove its code from the caches
        tiny.append(small())
    median = sorted(watched, key=lambda times: times.seconds)[steps // 2]
    return Profile(
        rows=sorted(median.rows.values(), key=lambda row: -row.seconds),
        step=statistics.median(plain),
        python=statistics.median(tiny),
        tokens=whole.batch[0].size,
        limits=measure_limits(),
    )


def _shrunk(settings: Settings) -> Settings:
    """The same operations, as many of them, on arrays of a few numbers."""
    model = resized(resized(settings.model, 0), settings.model.n_layer)
    loop = dataclasses.replace(settings.loop, batch_size=1)
    return dataclasses.replace(settings, model=model, loop=loop)

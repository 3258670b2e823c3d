"""A training run and what happens between its steps: log, evaluate, save, stop early, go on.

Pretraining and every fine-tuning are a Run each; the steps are those of training/loop.py.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_llm.errors import InputError, NonFiniteLoss
from tinygrad_llm.explain.nan import diagnose
from tinygrad_llm.nn import Module
from tinygrad_llm.recipes.plots import draw_losses
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run_folder import has_saved
from tinygrad_llm.training import checkpoint
from tinygrad_llm.training.journal import Journal
from tinygrad_llm.training.loop import Batch, StepReport, StepsConfig, train
from tinygrad_llm.training.objectives import Loss
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig
from tinygrad_llm.training.signals import stop_request


class Batches(Protocol):
    """Batches without end, from a place that can be stored as JSON and gone back to."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __next__(self) -> Batch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class HeldOut(Protocol):
    """How good the model is on what it is not trained on.

    loss: nats. rank: what the best weights are chosen by, figure after figure, the smallest first.
    row: the figures as the journal holds them.
    """

    loss: float

    @property
    def rank(self) -> tuple[float, ...]: ...
    def row(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class Plan:
    """What happens between the steps, and when."""

    eval_every: int  # steps
    save_every: int  # steps
    sample_every: int = 0  # steps; 0 for no samples
    patience: int = 0  # evaluations without a better one before training stops; 0 for never


def plan_of(config: Any) -> Plan:
    """The plan that a group of settings with these keys states."""
    return Plan(**{field.name: getattr(config, field.name) for field in fields(Plan)})


@dataclass
class Progress:
    """What a run has come to; stored in the checkpoint."""

    best: tuple[float, ...] | None = None  # the rank of the best evaluation
    best_step: int = 0
    evaluations_since_best: int = 0


@dataclass
class Run:
    """Everything that a run holds while it trains; what kind of run it is, the methods say."""

    folder: Path
    model: Module
    objective: Callable[..., Loss]
    optimizer: AdamW
    batches: Batches
    rng: np.random.Generator  # of dropout
    loop: StepsConfig
    schedule: ScheduleConfig
    plan: Plan
    progress: Progress = field(default_factory=Progress, kw_only=True)

    def evaluate(self) -> HeldOut:
        """Score the model on the held-out part."""
        raise NotImplementedError

    def held_out(self) -> Iterable[Batch]:
        """What `evaluate` goes through, as batches of the objective."""
        raise NotImplementedError

    def save_model(self) -> None:
        """Write the model as what the run has made, for other commands to open."""
        raise NotImplementedError

    def evaluated(self) -> None:
        """The held-out part was scored: for runs that keep something of each time."""

    def sample(self) -> str:
        """What the model writes. Draws from a generator of its own."""
        raise NotImplementedError


class Outcome(NamedTuple):
    """How a run ended. score: the last on the held-out part. signal: the one that stopped it.

    train_seconds: spent in steps since this process began or resumed the run.
    """

    run: Run
    score: Any
    signal: int | None
    train_seconds: float


def train_run(run: Run, reporter: Reporter) -> Outcome:
    """Train to the last step, to the end of patience or to a signal; the best weights are saved as
    the model, the last ones in the checkpoint.

    A run whose folder holds a checkpoint goes on from it. NonFiniteLoss where training breaks down;
    the last checkpoint then stays.
    """
    score, seconds, journal = None, 0.0, Journal(run.folder, run.optimizer.steps)
    reporter.started(run.optimizer.steps, run.loop.steps)
    with contextlib.ExitStack() as stack:
        stack.callback(reporter.finished)
        stack.enter_context(contextlib.closing(journal))
        request = stack.enter_context(stop_request())
        for report in () if _hopeless(run, reporter) else _steps(run):
            stop = request.signal is not None
            seconds += report.seconds
            journal.write(**report._asdict())
            reporter.stepped(report)
            if due(report.step, run.plan.eval_every, run.loop.steps):
                score = _evaluate(run, journal, reporter)
            if stop or due(report.step, run.plan.save_every, run.loop.steps):
                save(run)
            if run.plan.sample_every and due(report.step, run.plan.sample_every, run.loop.steps):
                reporter.sampled(report.step, run.sample())
            if stop or _hopeless(run, reporter):
                break
    save(run)
    draw_losses(run.folder, reporter)
    return Outcome(run, score, request.signal, seconds)


def _steps(run: Run) -> Iterator[StepReport]:
    return train(
        run.model,
        run.objective,
        run.optimizer,
        run.batches,
        rng=run.rng,
        loop=run.loop,
        schedule=run.schedule,
    )


def _hopeless(run: Run, reporter: Reporter) -> bool:
    """Whether the held-out score has not improved for as long as the run's patience lasts."""
    waited = run.progress.evaluations_since_best
    if not 0 < run.plan.patience <= waited:
        return False
    reporter.note(
        f"step {run.optimizer.steps}: no better held-out score in {waited} evaluations; "
        "training stops early"
    )
    return True


def due(step: int, every: int, steps: int) -> bool:
    """Whether what happens every so many steps, and after the last, happens after this one."""
    return step % every == 0 or step == steps


def _evaluate(run: Run, journal: Journal, reporter: Reporter) -> HeldOut:
    """Score the held-out part; keep the weights as the run's model if they are the best so far."""
    score, step, progress = run.evaluate(), run.optimizer.steps, run.progress
    if not math.isfinite(score.loss):
        raise NonFiniteLoss(
            f"step {step}: the held-out loss is no longer a finite number; {_birth(run)}"
        )
    journal.write(step=step, **score.row())
    reporter.evaluated(step, score)
    run.evaluated()
    if progress.best is None or score.rank < progress.best:
        run.progress = Progress(score.rank, step, 0)
        run.save_model()
    else:
        progress.evaluations_since_best += 1
    return score


def _birth(run: Run) -> str:
    """Where the held-out loss ceased to be a finite number."""
    run.model.eval()
    births = (diagnose(lambda b=b: run.objective(run.model, *b).total) for b in run.held_out())
    return next(filter(None, births), "each part of it is finite, but their sum is not")


def save(run: Run) -> None:
    """Write the checkpoint, and the model too where no evaluation has written one yet."""
    if run.progress.best_step == 0:
        run.save_model()
    progress = {"batches": run.batches.state_dict(), **vars(run.progress)}
    checkpoint.save_checkpoint(run.folder, run.model, run.optimizer, run.rng, progress)


def restore(run: Run) -> None:
    """Bring the run to where its checkpoint left it, if it has one."""
    if not (run.folder / checkpoint.FILE).exists():
        return
    stored = checkpoint.load_checkpoint(run.folder, run.model, run.optimizer, run.rng)
    try:
        run.batches.load_state_dict(stored["batches"])
        best = stored["best"]
        run.progress = Progress(
            None if best is None else tuple(map(float, best)),
            int(stored["best_step"]),
            int(stored["evaluations_since_best"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{run.folder / checkpoint.FILE} is no checkpoint of this run ({error}); "
            "remove it to start again"
        ) from error


@contextlib.contextmanager
def remedied(run: Run) -> Iterator[None]:
    """In this block a NonFiniteLoss also says what may keep the next try's loss a finite number,
    in a folder that it may use.
    """
    try:
        yield
    except NonFiniteLoss as error:
        saved = has_saved(run.folder)
        again = "start a new run with another --out," if saved else "run again with"
        lr, warmup = run.schedule.lr, run.schedule.warmup
        raise NonFiniteLoss(
            f"{error}; {again} a smaller lr (such as --set lr={lr / 10:g}; it was {lr:g}) or a "
            f"longer warmup (it was {warmup} steps)"
        ) from error

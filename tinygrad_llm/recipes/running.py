"""A training run between its steps, whatever it trains: log, evaluate, save, sample, stop, go on.

What is read, how a batch is scored and what a sample looks like, a recipe's own Run says.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_llm.errors import InputError, NonFiniteLoss
from tinygrad_llm.explain.nan import diagnose
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.nn import Module
from tinygrad_llm.recipes.plots import draw_losses
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run_folder import has_saved
from tinygrad_llm.recipes.settings import Groups
from tinygrad_llm.text import Tokenizer, token_lengths
from tinygrad_llm.training import checkpoint
from tinygrad_llm.training.evaluation import Score, evaluate
from tinygrad_llm.training.journal import Journal
from tinygrad_llm.training.loop import Batch, train
from tinygrad_llm.training.objectives import Loss
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.signals import stop_request

EVALUATION_TOKENS = 4096  # tokens in one forward pass of an evaluation


@dataclass
class Progress:
    """What a run has come to; stored in the checkpoint."""

    best_loss: float = math.inf  # on the held-out text, nats per token
    best_step: int = 0
    evaluations_since_best: int = 0


class Batches(Protocol):
    """Batches without end, that can be stored and gone on with."""

    def __next__(self) -> Batch: ...

    def state_dict(self) -> dict[str, int]: ...

    def load_state_dict(self, state: dict[str, int]) -> None: ...


@dataclass
class Run:
    """Everything that one training run holds while it trains."""

    settings: Groups
    folder: Path
    tokenizer: Tokenizer
    model: Module
    optimizer: AdamW
    batches: Batches
    rng: np.random.Generator  # of the weights, then of dropout
    progress: Progress

    def objective(self, model: Module, *batch: np.ndarray) -> Loss:
        """What training lowers."""
        raise NotImplementedError

    def score(self, model: Module, *batch: np.ndarray) -> Loss:
        """What the held-out part is scored by: the objective, if a recipe says nothing else."""
        return self.objective(model, *batch)

    def held_out(self) -> Iterator[Batch]:
        """The held-out part, every token once."""
        raise NotImplementedError

    def sample(self) -> str:
        """What the model writes. Draws from a generator of its own."""
        raise NotImplementedError

    def evaluated(self) -> None:
        """The held-out part was scored: for recipes that keep something of each time."""


class Outcome(NamedTuple):
    """How a run ended. score: the last on the held-out text. signal: the one that stopped it.

    train_seconds: spent in steps since this process began or resumed the run.
    """

    run: Any
    score: Score | None
    signal: int | None
    train_seconds: float


def train_run(run: Run, reporter: Reporter) -> Outcome:
    """The loop with what happens between its steps: log, evaluate, save, sample, stop."""
    plan, steps = run.settings.run, run.settings.loop.steps
    score, seconds, journal = None, 0.0, Journal(run.folder, run.optimizer.steps)
    reporter.started(run.optimizer.steps, steps)
    with contextlib.ExitStack() as stack:
        stack.callback(reporter.finished)
        stack.enter_context(contextlib.closing(journal))
        request = stack.enter_context(stop_request())
        for report in train(
            run.model,
            run.objective,
            run.optimizer,
            run.batches,
            rng=run.rng,
            loop=run.settings.loop,
            schedule=run.settings.schedule,
        ):
            stop = request.signal is not None
            seconds += report.seconds
            journal.write(**report._asdict())
            reporter.stepped(report)
            if _due(report.step, plan.eval_every, steps):
                score = _evaluate(run, journal, reporter)
            if stop or _due(report.step, plan.save_every, steps):
                save(run)
            if plan.sample_every and _due(report.step, plan.sample_every, steps):
                reporter.sampled(report.step, run.sample())
            if stop or _hopeless(run, reporter):
                break
    save(run)
    draw_losses(run.folder, reporter)
    return Outcome(run, score, request.signal, seconds)


def _hopeless(run: Run, reporter: Reporter) -> bool:
    """Whether the held-out loss has not fallen for as long as the run's patience lasts."""
    patience, waited = run.settings.run.patience, run.progress.evaluations_since_best
    if not 0 < patience <= waited:
        return False
    reporter.note(
        f"step {run.optimizer.steps}: no better held-out loss in {waited} evaluations; "
        "training stops early"
    )
    return True


def _due(step: int, every: int, steps: int) -> bool:
    return step % every == 0 or step == steps


def _evaluate(run: Run, journal: Journal, reporter: Reporter) -> Score:
    """Score the held-out text; keep the weights as the run's model if they are the best so far."""
    score, step, progress = evaluate_run(run), run.optimizer.steps, run.progress
    if not math.isfinite(score.loss):
        raise NonFiniteLoss(
            f"step {step}: the held-out loss is no longer a finite number; {_birth(run)}"
        )
    journal.write(step=step, validation_loss=score.loss, bits_per_byte=score.bits_per_byte)
    reporter.evaluated(step, score)
    run.evaluated()
    if score.loss < progress.best_loss:
        run.progress = Progress(score.loss, step, 0)
        save_model(run.folder, run.model)
    else:
        progress.evaluations_since_best += 1
    return score


def evaluate_run(run: Run) -> Score:
    """The loss on the whole held-out text."""
    return evaluate(run.model, run.score, run.held_out(), token_lengths(run.tokenizer))


def _birth(run: Run) -> str:
    """Where the held-out loss ceased to be a finite number."""
    run.model.eval()
    births = (diagnose(lambda b=b: run.score(run.model, *b).total) for b in run.held_out())
    return next(filter(None, births), "each part of it is finite, but their sum is not")


def save(run: Run) -> None:
    """Write the checkpoint, and the model too where no evaluation has written one yet."""
    progress = {"batches": run.batches.state_dict(), **vars(run.progress)}
    if run.progress.best_step == 0:
        progress["best_loss"] = None  # JSON knows no infinity
        save_model(run.folder, run.model)
    checkpoint.save_checkpoint(run.folder, run.model, run.optimizer, run.rng, progress)


def restore(run: Run) -> None:
    """Bring the run to where its checkpoint left it."""
    stored = checkpoint.load_checkpoint(run.folder, run.model, run.optimizer, run.rng)
    try:
        run.batches.load_state_dict(stored["batches"])
        best = math.inf if stored["best_loss"] is None else float(stored["best_loss"])
        run.progress = Progress(
            best, int(stored["best_step"]), int(stored["evaluations_since_best"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{run.folder / checkpoint.FILE} is no checkpoint of this run ({error}); "
            "remove it to start again"
        ) from error


def remedy(run: Run) -> str:
    """What may keep the next try's loss a finite number, in a folder that it may use."""
    lr, warmup = run.settings.schedule.lr, run.settings.schedule.warmup
    again = "start a new run with another --out," if has_saved(run.folder) else "run again with"
    return (
        f"{again} a smaller lr (such as --set lr={lr / 10:g}; it was {lr:g}) or a longer warmup "
        f"(it was {warmup} steps)"
    )

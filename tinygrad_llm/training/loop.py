"""The training loop: batches in, one report a step out. It knows no model and no file.

Who iterates over `train` decides what happens between two steps: evaluate, save, print, or stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import NonFiniteLoss
from tinygrad_llm.explain.nan import diagnose
from tinygrad_llm.nn import Module
from tinygrad_llm.training.objectives import Loss
from tinygrad_llm.training.optimizer import AdamW, clip_scale
from tinygrad_llm.training.schedules import ScheduleConfig, learning_rate

Batch = tuple[np.ndarray, ...]  # what the objective takes: inputs, and targets last


@dataclass(frozen=True)
class StepsConfig:
    """How long to train."""

    steps: int = 2000  # updates of the weights
    accumulation: int = 1  # forward passes whose gradients make one update
    clip: float = 1.0  # the largest gradient norm; 0 for no limit


@dataclass(frozen=True)
class LoopConfig(StepsConfig):
    """The same, and on how much at a time."""

    batch_size: int = 12  # sequences in one forward pass


class StepReport(NamedTuple):
    """What one update did. step counts from 1; loss: nats per token, before the update."""

    step: int
    loss: float
    grad_norm: float
    lr: float
    tokens: int
    seconds: float


def train(
    model: Module,
    objective: Callable[..., Loss],
    optimizer: AdamW,
    batches: Iterator[Batch],
    *,
    loop: StepsConfig,
    schedule: ScheduleConfig,
    rng: np.random.Generator,
) -> Iterator[StepReport]:
    """Update the model until `loop.steps` updates were made, counting those the optimizer had made
    before.

    rng: the generator that the model draws dropout from; it lets a step that failed be run again to
    explain it.
    """
    model.train()
    while optimizer.steps < loop.steps:
        start = time.perf_counter()
        parts = [next(batches) for _ in range(loop.accumulation)]
        lr = learning_rate(optimizer.steps, loop.steps, schedule)
        loss, norm, tokens = train_step(
            model, objective, optimizer, parts, lr=lr, clip=loop.clip, rng=rng
        )
        yield StepReport(optimizer.steps, loss, norm, lr, tokens, time.perf_counter() - start)


def fit(
    model: Module,
    objective: Callable[..., Loss],
    batches: Iterator[Batch],
    *,
    steps: int,
    lr: float,
    rng: np.random.Generator,
    progress: Callable[..., Iterable[StepReport]] | None = None,
) -> None:
    """`train` to the end, with a fresh AdamW and a rate that rises to lr in a tenth of the steps,
    at most 100, and falls to 0.

    progress: shows how far it has come; it is called as tqdm is.
    """
    schedule = ScheduleConfig(lr=lr, min_lr=0.0, warmup=min(100, steps // 10))
    plan = {"loop": StepsConfig(steps), "schedule": schedule}
    reports = train(model, objective, AdamW(model.parameters()), batches, **plan, rng=rng)
    for _ in progress(reports, total=steps, leave=False) if progress else reports:
        pass


def train_step(
    model: Module,
    objective: Callable[..., Loss],
    optimizer: AdamW,
    parts: Iterable[Batch],
    *,
    lr: float,
    clip: float,
    rng: np.random.Generator,
) -> tuple[float, float, int]:
    """One update from the gradients of all parts, each token weighing the same: (loss, gradient
    norm, tokens).

    The gradients are those of the sum over the tokens; the update divides them by the tokens'
    number.
    """
    optimizer.zero_grad()
    state = rng.bit_generator.state
    total, tokens = 0.0, 0
    for part in parts:
        loss = objective(model, *part)
        loss.total.backward()
        total, tokens = total + loss.total.item(), tokens + loss.tokens
    norm = optimizer.grad_norm() / max(tokens, 1)
    if not (math.isfinite(total) and math.isfinite(norm)):
        rng.bit_generator.state = state
        raise NonFiniteLoss(_explain(model, objective, parts, optimizer.steps + 1))
    optimizer.step(lr, scale=clip_scale(norm, clip) / max(tokens, 1))
    return total / max(tokens, 1), norm, tokens


def _explain(
    model: Module, objective: Callable[..., Loss], parts: Iterable[Batch], step: int
) -> str:
    """Run the failed step again with every operation watched, and say where the first NaN was
    born.
    """
    for part in parts:
        birth = diagnose(lambda part=part: objective(model, *part).total)
        if birth:
            return f"step {step}: the loss is no longer a finite number; {birth}"
    return (
        f"step {step}: the sum of the gradients is no longer a finite number, though each part is"
    )

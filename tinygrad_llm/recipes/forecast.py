"""What a run will cost, before it starts: parameters and operations by formula (costs.py), time by
trying a model of two layers.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.models.bert import BertConfig
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.recipes.costs import flops_per_token, num_parameters, peak_floats, resized
from tinygrad_llm.recipes.kinds import KINDS
from tinygrad_llm.recipes.settings import Settings
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.optimizer import AdamW

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Forecast:
    """parameters; flops_per_token: of a training step; memory: bytes at the peak; seconds: of the
    whole run.
    """

    parameters: int
    flops_per_token: int
    memory: int
    step_seconds: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.parameters:,} parameters, {self.flops_per_token / 1e6:,.1f} MFLOP a token, "
            f"{self.memory / 1e6:,.0f} MB of memory, {self.step_seconds * 1e3:,.0f} ms a step, "
            f"about {self.seconds / 60:,.1f} minutes"
        )


def forecast(settings: Settings, *, evaluation_tokens: int = 0) -> Forecast:
    """The cost of a pretraining run. evaluation_tokens: the size of the held-out text, for its
    share of the time.
    """
    config, loop = settings.model, settings.loop
    _timed(resized(config, 0), 1, settings)  # loads the kernels
    memory = peak_memory(config, loop.batch_size)
    one = step_seconds(settings) * loop.accumulation
    step_tokens = loop.batch_size * loop.accumulation * config.n_positions
    evaluations = loop.steps // settings.run.eval_every
    # A forward pass is a third of a step's work.
    evaluating = evaluations * evaluation_tokens / step_tokens * one / 3
    return Forecast(
        num_parameters(config),
        flops_per_token(config),
        memory,
        one,
        loop.steps * one + evaluating,
    )


def peak_memory(config: GPTConfig | BertConfig, batch_size: int) -> int:
    """Bytes at the peak of a step, this process as it is now included."""
    return resident_memory() + FLOAT * peak_floats(config, batch_size)


def check_memory(config: GPTConfig | BertConfig, batch_size: int) -> None:
    """InputError where training takes more memory than the machine has, or it would be killed."""
    needed, there = peak_memory(config, batch_size), physical_memory()
    if 0 < there < needed:
        raise InputError(
            f"training this model takes about {needed // 10**9:,} GB of memory, and this machine "
            f"has {there // 10**9:,}; take a smaller one (n_layer, n_embd, vocab_size) or a "
            "smaller batch_size"
        )


def physical_memory() -> int:
    """Bytes of memory in this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def resident_memory() -> int:
    """The bytes of memory that this process holds now; 0 where the system does not tell."""
    return _status("VmRSS")


def most_memory() -> int:
    """The most bytes that this process ever held; 0 where the system does not tell."""
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def step_seconds(settings: Settings) -> float:
    """Seconds of one training step: that of two layers, timed, in proportion to the operations."""
    config = settings.model
    small = resized(config, min(config.n_layer, 2))
    seconds = _timed(small, settings.loop.batch_size, settings)
    return seconds * flops_per_token(config) / flops_per_token(small)


def _timed(config: GPTConfig | BertConfig, batch_size: int, settings: Settings) -> float:
    """The median of up to 20 steps in about 3 seconds, after one that compiles and warms up."""
    check_memory(config, batch_size)
    kind, rng = KINDS[settings.run.model], np.random.default_rng(0)
    model = kind.build(config, rng=rng)
    optimizer = AdamW(model.parameters(), settings.adamw)
    ids = rng.integers(config.vocab_size, size=(batch_size, config.n_positions + 1))
    batch, clip, times = kind.trial(ids, config.vocab_size), settings.loop.clip, []
    while len(times) < 21 and sum(times[1:]) < 3.0:
        start = time.perf_counter()
        train_step(model, kind.objective, optimizer, [batch], lr=0.0, clip=clip, rng=rng)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))

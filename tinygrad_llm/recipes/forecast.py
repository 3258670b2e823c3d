"""What a run will cost, before it starts: parameters and operations by formula, time by trying a
model of two layers.

Kaplan et al. 2020, arXiv 2001.08361, section 2.1, counts 6 operations a parameter and token for a
step; here the attention's own products are counted too.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.again import LARGE
from tinygrad_llm.kernels.buffers import LOGITS, WIDE_ROWS
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.recipes.settings import Settings
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
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
    _timed(_smallest(config), 1, settings)  # loads the kernels
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


def num_parameters(config: GPTConfig) -> int:
    """How many numbers training moves: 124,439,808 for GPT-2 small."""
    width, bias = config.n_embd, config.bias
    block = 12 * width**2 + 2 * width  # attention 4, MLP 8 squares of the width; the norms' scales
    if bias:
        block += 8 * width + 3 * width * config.qkv_bias  # out 1, MLP 5, norms 2
    ends = (
        config.vocab_size * (1 if config.tie_word_embeddings else 2) + config.n_positions
    ) * width
    return config.n_layer * block + ends + width * (1 + bias)


def flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations of forward and backward for one token of a full context."""
    products = 12 * config.n_layer * config.n_embd**2 + config.vocab_size * config.n_embd
    attention = (
        config.n_layer * config.n_embd * config.n_positions
    )  # q k^T and W v, half of each masked
    return 6 * (products + attention)


def peak_memory(config: GPTConfig, batch_size: int) -> int:
    """Bytes at the peak of a step, this process as it is now included.

    Four floats a parameter (weight, gradient, two moments); what each layer saves for its backward;
    and behind the last one the logits of a block of tokens, which become their gradient in place.
    """
    tokens, width = batch_size * config.n_positions, config.n_embd
    # inputs of norms 2, their outputs 2 unless large, q k v 3, attention 1, what enters GELU 4
    saved = config.n_layer * (10 if tokens * width >= LARGE else 12) * width
    wide = 8 * width * min(tokens, WIDE_ROWS)  # GELU and its gradient, for a block of tokens
    logits = block_size(tokens, config.vocab_size)
    floats = 4 * num_parameters(config) + tokens * (saved + 4 * width) + wide + logits
    return resident_memory() + FLOAT * floats


def block_size(tokens: int, vocab_size: int) -> int:
    """How many logits are in memory at a time: blocks of equal size, of at most LOGITS."""
    logits = tokens * vocab_size
    return math.ceil(logits / max(math.ceil(logits / LOGITS), 1))


def check_memory(config: GPTConfig, batch_size: int) -> None:
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
    small = dataclasses.replace(config, n_layer=min(config.n_layer, 2))
    seconds = _timed(small, settings.loop.batch_size, settings)
    return seconds * flops_per_token(config) / flops_per_token(small)


def _smallest(config: GPTConfig) -> GPTConfig:
    """The same operations on a few numbers."""
    heads = config.n_head
    return dataclasses.replace(config, n_layer=1, n_embd=heads, vocab_size=2, n_positions=1)


def _timed(config: GPTConfig, batch_size: int, settings: Settings) -> float:
    """The median of up to 20 steps in about 3 seconds, after one that compiles and warms up."""
    check_memory(config, batch_size)
    rng = np.random.default_rng(0)
    model = GPT(config, rng=rng)
    optimizer = AdamW(model.parameters(), settings.adamw)
    ids = rng.integers(config.vocab_size, size=(batch_size, config.n_positions + 1))
    batch, clip, times = (ids[:, :-1], ids[:, 1:]), settings.loop.clip, []
    while len(times) < 21 and sum(times[1:]) < 3.0:
        start = time.perf_counter()
        train_step(model, next_token, optimizer, [batch], lr=0.0, clip=clip, rng=rng)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))

"""The learning rate over the steps: a linear warmup, then half a cosine down to its minimum.

Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts; the form that GPT-3 and nanoGPT use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ScheduleConfig:
    """How large a step AdamW takes, and when."""

    lr: float = 1e-3  # the largest learning rate, reached after the warmup
    min_lr: float = 1e-4  # the last one
    warmup: int = 100  # steps


def learning_rate(step: int, steps: int, config: ScheduleConfig) -> float:
    """The rate for step number `step`, counted from 0, of `steps` in all."""
    if step < config.warmup:
        return config.lr * (step + 1) / (config.warmup + 1)
    progress = min((step - config.warmup) / max(steps - config.warmup, 1), 1.0)
    return config.min_lr + 0.5 * (1 + math.cos(math.pi * progress)) * (config.lr - config.min_lr)

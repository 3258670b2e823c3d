"""The learning rate over the steps: a linear warmup, then a way down.

cosine: half a cosine down to the minimum (Loshchilov and Hutter 2017, arXiv 1608.03983, without
restarts; as GPT-3 and nanoGPT). inverse_sqrt: with the root of the steps (Vaswani et al. 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinygrad_llm.errors import suggest

DECAYS = ("cosine", "inverse_sqrt")


@dataclass(frozen=True)
class ScheduleConfig:
    """How large a step AdamW takes, and when."""

    lr: float = 1e-3  # the largest learning rate, reached after the warmup
    min_lr: float = 1e-4  # the last one, of a cosine
    warmup: int = 100  # steps
    decay: str = "cosine"  # after the warmup: cosine or inverse_sqrt

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise suggest(self.decay, DECAYS, "decay")


def learning_rate(step: int, steps: int, config: ScheduleConfig) -> float:
    """The rate for step number `step`, counted from 0, of `steps` in all.

    inverse_sqrt: lr min(n / w, sqrt(w / n)) of step n = 1, 2, ... and warmup w. The paper's section
    5.3 is that with lr = 1 / sqrt(width w).
    """
    if config.decay == "inverse_sqrt":
        n, warmup = step + 1, max(config.warmup, 1)
        return config.lr * min(n / warmup, math.sqrt(warmup / n))
    if step < config.warmup:
        return config.lr * (step + 1) / (config.warmup + 1)
    progress = min((step - config.warmup) / max(steps - config.warmup, 1), 1.0)
    return config.min_lr + 0.5 * (1 + math.cos(math.pi * progress)) * (config.lr - config.min_lr)

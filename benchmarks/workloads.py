"""What is trained: the workloads by name, their batches, their first weights, and the settings that
every library shares.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import machine
from tinygrad_llm.models.gpt import GPT, PRESETS, GPTConfig

LEARNING_RATE, CLIP = 3e-4, 1.0
BETAS, EPS, DECAY = (0.9, 0.99), 1e-8, 0.1  # AdamW's; the decay is for matrices alone


@dataclass(frozen=True)
class Workload:
    """A model and the size of its batches (batch, context)."""

    model: GPTConfig
    batch: int
    context: int

    @property
    def tokens(self) -> int:
        """How many one step sees."""
        return self.batch * self.context

    def settings(self) -> dict[str, Any]:
        """As JSON can carry it; Workload.of turns it back."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, model: dict, batch: int, context: int) -> Workload:
        return cls(GPTConfig(**model), batch, context)

    def first_model(self) -> GPT:
        """Our model with the weights that every contender starts from."""
        return GPT(self.model, rng=np.random.default_rng(1))

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets (B, T) with something to learn: each row counts on by its own stride,
        so that a wrong update shows in the next loss.
        """
        rng, size = np.random.default_rng(2), self.model.vocab_size
        while True:
            start = rng.integers(size, size=(self.batch, 1))
            stride = rng.integers(1, 5, size=(self.batch, 1))
            ids = (start + stride * np.arange(self.context + 1)) % size
            yield np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:])


BABY = PRESETS["baby"]
WORKLOADS = {
    "char-cpu": Workload(PRESETS["char-cpu"], 12, 64),
    "baby": Workload(BABY, 8, 256),
    "gpt2-124M": Workload(PRESETS["gpt2"], 4, 64),
    "baby-1024": Workload(dataclasses.replace(BABY, n_positions=1024), 8, 1024),
    "tiny": Workload(GPTConfig(vocab_size=13, n_positions=8, n_layer=2, n_head=2, n_embd=16), 2, 8),
}


class Trainer:
    """One GPT that one library trains; a subclass builds it and makes one step at a time."""

    def __init__(self, **settings: Any):
        self.workload = Workload.of(**settings)
        self.batches = self.workload.batches()
        self.build()

    def build(self) -> None:
        """Make the model from `self.workload.first_model()`, and its optimizer."""
        raise NotImplementedError

    def step(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """Forward, backward, clip, AdamW: the loss before the update, in nats per token."""
        raise NotImplementedError

    def steps(self, count: int) -> dict[str, Any]:
        """The losses of the next steps, their seconds, and the peak of memory in megabytes."""
        batches = [next(self.batches) for _ in range(count)]
        start = time.perf_counter()
        losses = [self.step(*batch) for batch in batches]
        seconds = time.perf_counter() - start
        return {"losses": losses, "seconds": seconds, "peak_rss_mb": machine.peak_memory()}

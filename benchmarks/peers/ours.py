"""Our training step, as the training loop makes it."""

import numpy as np

from benchmarks.workloads import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, Trainer
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW, AdamWConfig


class Ours(Trainer):
    def build(self):
        self.model = self.workload.first_model()
        settings = AdamWConfig(beta1=BETAS[0], beta2=BETAS[1], eps=EPS, weight_decay=DECAY)
        self.optimizer = AdamW(self.model.parameters(), settings)
        self.rng = np.random.default_rng(0)  # no dropout: nothing is drawn from it

    def step(self, inputs, targets):
        loss, _, _ = train_step(
            self.model,
            next_token,
            self.optimizer,
            [(inputs, targets)],
            lr=LEARNING_RATE,
            clip=CLIP,
            rng=self.rng,
        )
        return loss

"""PyTorch's training step: eager, eager with the fused AdamW, and through torch.compile."""

import torch

from benchmarks.torch_gpt import TorchGPT, load_ours, optimizer_for
from benchmarks.workloads import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, Trainer


class Eager(Trainer):
    """As its users write it, with AdamW as PyTorch chooses it on a CPU."""

    fused = False

    def build(self):
        self.model = TorchGPT(self.workload.model)
        load_ours(self.model, self.workload.first_model().state_dict())
        self.optimizer = optimizer_for(
            self.model,
            lr=LEARNING_RATE,
            betas=BETAS,
            eps=EPS,
            weight_decay=DECAY,
            fused=self.fused,
        )
        self.loss = self.model

    def step(self, inputs, targets):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(torch.from_numpy(inputs), torch.from_numpy(targets))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        return loss.item()


class FusedAdamW(Eager):
    """With AdamW in one kernel, which PyTorch has for the CPU but does not choose by itself."""

    fused = True


class Compiled(Eager):
    """Forward and backward compiled."""

    def build(self):
        super().build()
        self.loss = torch.compile(self.model)

"""A run of ours again in PyTorch: the architecture, batches, AdamW, clipping and schedule of a run
folder's settings.

F.scaled_dot_product_attention, tanh GELU, as many threads as ours; the weights start from PyTorch's
own generator.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from tinygrad_llm.data.batches import Batches, windows
from tinygrad_llm.data.shards import open_tokens
from tinygrad_llm.text import load_tokenizer
from tinygrad_llm.training.schedules import learning_rate


class Block(nn.Module):
    """The transformer block of GPT-2."""

    def __init__(self, config):
        super().__init__()
        width, bias = config.n_embd, config.bias
        self.heads = config.n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
        self.qkv, self.out = (
            nn.Linear(width, 3 * width, bias=bias),
            nn.Linear(width, width, bias=bias),
        )
        self.fc, self.proj = (
            nn.Linear(width, 4 * width, bias=bias),
            nn.Linear(4 * width, width, bias=bias),
        )

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.ln_1(x)).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class TorchGPT(nn.Module):
    """GPT-2 with tied weights and GPT-2's initialization."""

    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                residual = name.endswith(("out.weight", "proj.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * config.n_layer) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def optimizer_for(model, config):
    """AdamW with decay on matrices alone."""
    groups = [
        {
            "params": [p for p in model.parameters() if p.ndim >= 2],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=config.eps, betas=(config.beta1, config.beta2), eps=config.eps
    )


def train_like_ours(settings, folder: Path) -> tuple[float, float]:
    """Train on a run folder's tokens as its settings say: (loss on all held-out text, seconds of
    the steps).
    """
    tokenizer = load_tokenizer(folder)
    training, held_out = open_tokens(folder / "tokens", tokenizer=tokenizer).split(
        settings.run.validation
    )
    config = dataclasses.replace(settings.model, vocab_size=tokenizer.vocab_size)
    torch.manual_seed(settings.run.seed)
    model = TorchGPT(config)
    optimizer = optimizer_for(model, settings.adamw)
    batches = Batches(
        training,
        batch_size=settings.loop.batch_size,
        context=config.n_positions,
        rng=np.random.default_rng(settings.run.seed),
    )
    start = time.perf_counter()
    for step in tqdm(range(settings.loop.steps), desc="PyTorch", leave=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings.loop.steps, settings.schedule)
        inputs, targets = next(batches)
        optimizer.zero_grad(set_to_none=True)
        model(torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())).backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.loop.clip)
        optimizer.step()
    seconds = time.perf_counter() - start
    total = count = 0
    with torch.no_grad():
        for inputs, targets in windows(held_out, batch_size=64, context=config.n_positions):
            loss = model(torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy()))
            total, count = total + loss.item() * targets.size, count + targets.size
    return total / count, seconds

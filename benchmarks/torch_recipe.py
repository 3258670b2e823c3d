"""A run of ours again in PyTorch: the architecture, batches, AdamW, clipping and schedule of a run
folder's settings.

F.scaled_dot_product_attention, tanh GELU, as many threads as ours; the weights start from PyTorch's
own generator.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from benchmarks.torch_gpt import TorchGPT, optimizer_for
from tinygrad_llm.data.batches import Batches, windows
from tinygrad_llm.data.shards import open_tokens
from tinygrad_llm.text import load_tokenizer
from tinygrad_llm.training.schedules import learning_rate


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
    adamw = settings.adamw
    optimizer = optimizer_for(
        model,
        lr=settings.schedule.lr,
        betas=(adamw.beta1, adamw.beta2),
        eps=adamw.eps,
        weight_decay=adamw.weight_decay,
    )
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

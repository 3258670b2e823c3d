"""A step of training for translation, ours and PyTorch's: equal weights, batches and AdamW."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks import machine
from tinygrad_llm.data.pairs import PairBatches, Pairs, encode_pairs, read_pairs, train_tokenizer
from tinygrad_llm.models.encoder_decoder import EncoderDecoder
from tinygrad_llm.recipes.translation_settings import SMALL
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_target_token
from tinygrad_llm.training.optimizer import AdamW, AdamWConfig

LEARNING_RATE, CLIP, BETAS, EPS, SMOOTHING = 1e-3, 1.0, (0.9, 0.98), 1e-9, 0.1


def captions(count: int, size: int) -> Pairs:
    """Random ids, in texts about as long as Multi30k's captions."""
    rng = np.random.default_rng(3)
    lengths = np.clip(rng.normal(15, 5, (count, 1)) + rng.normal(0, 2, (count, 2)), 4, 50)
    starts = [np.concatenate([[0], np.cumsum(side)]) for side in lengths.astype(int).T]
    ids = [rng.integers(3, size, end[-1]).astype(np.int32) for end in starts]
    return Pairs(ids[0], starts[0], ids[1], starts[1], pad=0, start=2)


class Trainer:
    """One library's model and optimizer; a subclass builds them and makes a step."""

    def __init__(self, data: list[str], dropout: float, batch_tokens: int, changes: dict[str, Any]):
        self.config = dataclasses.replace(SMALL, dropout=dropout, **changes)
        if data:
            texts = read_pairs(*data)
            tokenizer = train_tokenizer(texts, self.config.vocab_size)
            pairs, _ = encode_pairs(texts, tokenizer, self.config.max_position_embeddings)
            self.config = dataclasses.replace(
                self.config, vocab_size=tokenizer.vocab_size, pad_token_id=pairs.pad
            )
        else:
            pairs = captions(29_000, self.config.vocab_size)
        rng = np.random.default_rng(2)
        self.tokens_of_epoch = len(pairs.targets)
        self.batches = PairBatches(pairs, batch_tokens=batch_tokens, rng=rng)
        self.build(EncoderDecoder(self.config, rng=np.random.default_rng(1)))

    def steps(self, count: int) -> dict[str, Any]:
        """The losses of the next steps, their target tokens and those of all pairs, seconds, and
        the peak of memory.
        """
        batches = [next(self.batches) for _ in range(count)]
        start = time.perf_counter()
        losses = [self.step(*batch) for batch in batches]
        return {
            "losses": losses,
            "tokens": sum(int(np.count_nonzero(labels >= 0)) for *_, labels in batches),
            "tokens_of_epoch": self.tokens_of_epoch,
            "seconds": time.perf_counter() - start,
            "peak_rss_mb": machine.peak_memory(),
        }


class Ours(Trainer):
    def build(self, model: EncoderDecoder) -> None:
        self.model, self.rng = model, np.random.default_rng(0)
        settings = AdamWConfig(beta1=BETAS[0], beta2=BETAS[1], eps=EPS, weight_decay=0.0)
        self.optimizer = AdamW(model.parameters(), settings)
        self.objective = partial(next_target_token, label_smoothing=SMOOTHING)

    def step(self, *batch: np.ndarray) -> float:
        given = self.model, self.objective, self.optimizer, [batch]
        return train_step(*given, lr=LEARNING_RATE, clip=CLIP, rng=self.rng)[0]


class PyTorch(Trainer):
    def build(self, model: EncoderDecoder) -> None:
        import torch

        from benchmarks.torch_transformer import TorchTransformer

        self.torch, self.model = torch, TorchTransformer(self.config).train()
        self.model.load_ours(model.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), LEARNING_RATE, BETAS, EPS, weight_decay=0.0
        )

    def step(self, *batch: np.ndarray) -> float:
        torch = self.torch
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(*map(torch.from_numpy, batch), label_smoothing=SMOOTHING)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        return loss.item()

"""What every fine-tuning shares beside the loop of run.py: its settings, its base, how many steps
its epochs are, and what they will cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.epochs import Epochs
from tinygrad_llm.formats.folder import copy_tokenizer, load_model
from tinygrad_llm.formats.gguf import open_gguf
from tinygrad_llm.formats.gguf_llama import load_llama
from tinygrad_llm.formats.gguf_tokenizer import tokenizer_contents
from tinygrad_llm.recipes.import_ import find_weights
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Outcome, Plan, Run, remedied, restore, train_run
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import BPETokenizer, Tokenizer, load_tokenizer
from tinygrad_llm.training.loop import LoopConfig
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig

UPDATED = 1 << 22  # weights on which an update is timed


@dataclass(frozen=True)
class TuningConfig:
    """What to fine-tune, on what, and for how long."""

    base: str = ""  # a Hugging Face folder, a .gguf file, smollm2 or minilm
    data: str = ""  # the file of examples
    epochs: int = 3  # how often each example is trained on
    batch_size: int = 8  # examples in one forward pass
    accumulation: int = 1  # forward passes whose gradients make one update
    max_length: int = 120  # tokens of an example that count
    lr: float = 5e-5  # the largest learning rate, reached after the warmup; it ends at 0
    warmup_share: float = 0.1  # of all steps
    clip: float = 1.0  # the largest gradient norm; 0 for no limit
    evaluations: int = 1  # on the held-out part in an epoch
    patience: int = 0  # stop after so many evaluations without a better one; 0 for never
    seed: int = 1  # of the split, the batches, fresh weights and dropout

    def __post_init__(self) -> None:
        for name in ("epochs", "max_length", "evaluations"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.warmup_share < 1:
            raise InputError(f"warmup_share {self.warmup_share} is not in [0, 1)")


class Base(NamedTuple):
    """A pretrained model to start from. path: where its weights are."""

    model: Any
    tokenizer: Tokenizer
    path: Path

    def save_tokenizer(self, folder: Path) -> None:
        """Leave the tokenizer in a folder, with all its files where it has several."""
        if self.path.is_dir():
            copy_tokenizer(self.path, folder)
        else:
            self.tokenizer.save(folder)


def open_base(source: str, rng: np.random.Generator) -> Base:
    """The model that a folder, a .gguf file or a known name stands for. rng: of its dropout."""
    path = find_weights(source)
    if path.is_dir():
        base = Base(load_model(path, rng=rng), load_tokenizer(path), path)
    else:
        with open_gguf(path) as file:
            tokenizer = BPETokenizer(tokenizer_contents(file.metadata))
            base = Base(load_llama(file, rng=rng), tokenizer, path)
    known, there = base.model.config.vocab_size, base.tokenizer.vocab_size
    if there > known:
        raise InputError(
            f"{source}: the tokenizer has {there:,} tokens, but the model knows {known:,}; they "
            "are not of one model"
        )
    return base


class Course(NamedTuple):
    """How a run goes through its epochs: what run.py asks for, in steps."""

    loop: LoopConfig
    schedule: ScheduleConfig
    plan: Plan


def course(config: TuningConfig, batches: Epochs) -> Course:
    """The steps of config.epochs passes over the batches; it is saved where it is scored.

    InputError where an update would take more batches than an epoch has.
    """
    if config.accumulation > len(batches):
        raise InputError(
            f"accumulation {config.accumulation} is more than an epoch has batches, "
            f"{len(batches)} of {config.batch_size}; lower it or batch_size"
        )
    an_epoch = -(-len(batches) // config.accumulation)
    steps = config.epochs * an_epoch
    every = max(1, an_epoch // config.evaluations)
    same = {name: getattr(config, name) for name in ("batch_size", "accumulation", "clip")}
    warmup = int(config.warmup_share * steps)
    return Course(
        LoopConfig(steps=steps, **same),
        ScheduleConfig(lr=config.lr, min_lr=0.0, warmup=warmup),
        Plan(eval_every=every, save_every=every, patience=config.patience),
    )


def tune(run: Run, reporter: Reporter) -> Outcome:
    """Say what the run will cost, and train: from its checkpoint on, where it has one."""
    restore(run)
    if left := run.loop.steps - run.optimizer.steps:
        trained = run.optimizer.weights.size
        reporter.note("timing a step ...")
        one = step_seconds(run)
        reporter.note(
            f"{run.model.num_parameters():,} parameters, {trained:,} of them trained; "
            f"{one * 1e3:,.0f} ms a step, about {left * one / 60:,.1f} minutes"
        )
    with remedied(run):
        return train_run(run, reporter)


def step_seconds(run: Run) -> float:
    """Seconds of a step on batches of middling size, evaluations shared out. Nothing is changed.

    A forward pass alone takes a third of the time of one with its backward.
    """
    batches, state = run.batches, run.rng.bit_generator.state
    size = min(batches.batch_size, len(batches.lengths))
    middle = np.argsort(batches.lengths, kind="stable")[(len(batches.lengths) - size) // 2 :][:size]
    batch = batches.collate(middle)

    def gradients() -> None:
        run.optimizer.zero_grad()
        run.objective(run.model, *batch).total.backward()

    run.model.train()
    one = timed(gradients)
    run.optimizer.zero_grad()
    run.rng.bit_generator.state = state
    scored = sum(len(targets) for *_, targets in run.held_out()) / size / 3 / run.plan.eval_every
    return one * (run.loop.accumulation + scored) + update_seconds(run.optimizer.weights.size)


def update_seconds(parameters: int) -> float:
    """Seconds of an update of so many weights."""
    size = min(parameters, UPDATED)
    weights = Tensor(np.zeros((1, size), np.float32), requires_grad=True)
    optimizer = AdamW([weights])

    def update() -> None:
        optimizer.grad_norm()
        optimizer.step(0.0)

    return timed(update) * parameters / max(size, 1)


def timed(work: Callable[[], object]) -> float:
    """The median of up to 5 times in about a second, after one that compiles and warms up."""
    times: list[float] = []
    while len(times) < 6 and sum(times[1:]) < 1.0:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))

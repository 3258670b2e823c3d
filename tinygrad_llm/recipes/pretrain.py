"""Pretraining: text in, a folder with a trained GPT out. Stopped at any moment, it goes on bit for
bit.

The run folder is a Hugging Face folder with, beside the best model, settings.toml, log.jsonl,
loss.png, the tokens and checkpoint.safetensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygrad_llm.data.batches import Batch, Batches, windows
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.inference.generation_config import GenerationConfig, save_generation_config
from tinygrad_llm.inference.generate import complete
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.recipes.corpus import END, prepare_corpus
from tinygrad_llm.recipes.forecast import check_memory, forecast
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Outcome, Run, plan_of, remedied, restore, train_run
from tinygrad_llm.recipes.run_folder import open_folder
from tinygrad_llm.recipes.settings import Settings
from tinygrad_llm.text import Tokenizer, token_lengths
from tinygrad_llm.training.evaluation import Score, evaluate
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW

SAMPLING = GenerationConfig(temperature=0.8, top_k=50)
EVALUATION_TOKENS = 4096  # tokens in one forward pass of an evaluation


@dataclass
class Pretraining(Run):
    """A GPT that learns to predict the next token of a text."""

    settings: Settings
    tokenizer: Tokenizer
    validation: Tokens

    def evaluate(self) -> Score:
        """The loss on the whole held-out text, in windows of one context each."""
        return evaluate(self.model, next_token, self.held_out(), token_lengths(self.tokenizer))

    def held_out(self) -> Iterator[Batch]:
        context = self.model.config.n_positions
        rows = max(1, EVALUATION_TOKENS // context)
        return windows(self.validation, batch_size=rows, context=context)

    def save_model(self) -> None:
        save_model(self.folder, self.model)

    def sample(self, tokens: int = 100) -> str:
        """What the model writes after the first words of the held-out text."""
        prompt = self.tokenizer.decode(self.validation[:16].tolist())
        rng = np.random.default_rng([self.settings.run.seed, self.optimizer.steps])
        config = dataclasses.replace(SAMPLING, max_new_tokens=tokens)
        return prompt + "".join(complete(self.model, self.tokenizer, prompt, config, rng=rng))


def pretrain(
    settings: Settings,
    folder: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Outcome:
    """Train a GPT on the text that the settings name and leave it in `folder`.

    resume: go on with the run that is there, if there is one. Raises InputError for settings, data
    or a folder that cannot work, and NonFiniteLoss where training breaks down; the last checkpoint
    then stays.
    """
    reporter, folder = reporter or Reporter(), Path(folder)
    with open_folder(settings, folder, resume):
        run = build(settings, folder, reporter)
        restore(run)
        if run.optimizer.steps < settings.loop.steps:
            reporter.note("timing a step ...")
            resolved = dataclasses.replace(settings, model=run.model.config)
            reporter.note(str(forecast(resolved, evaluation_tokens=len(run.validation))))
        with remedied(run):
            return train_run(run, reporter)


def build(settings: Settings, folder: Path, reporter: Reporter) -> Pretraining:
    """Corpus, model, optimizer and batches at step 0."""
    tokenizer, tokens = prepare_corpus(settings.run, settings.model.vocab_size, folder, reporter)
    training, validation = tokens.split(settings.run.validation)
    config = dataclasses.replace(settings.model, vocab_size=tokenizer.vocab_size)
    check_memory(config, settings.loop.batch_size)
    weights_seed, batches_seed = np.random.SeedSequence(settings.run.seed).spawn(2)
    batches = Batches(
        training,
        batch_size=settings.loop.batch_size,
        context=config.n_positions,
        rng=np.random.default_rng(batches_seed),
    )
    windows(validation, batch_size=1, context=config.n_positions)  # refuses too short a text now
    rng = np.random.default_rng(weights_seed)
    model = GPT(config, rng=rng)
    end = tokenizer.special_tokens.get(END)
    save_generation_config(folder, dataclasses.replace(SAMPLING, eos_token_id=end))
    return Pretraining(
        folder,
        model,
        next_token,
        AdamW(model.parameters(), settings.adamw),
        batches,
        rng,
        settings.loop,
        settings.schedule,
        plan_of(settings.run),
        settings,
        tokenizer,
        validation,
    )

"""Pretraining: text in, a folder with a trained GPT or BERT out. Stopped at any moment, it goes on
bit for bit.

The run folder is a Hugging Face folder with, beside the best model, settings.toml, log.jsonl,
loss.png, the tokens and checkpoint.safetensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygrad_llm.data.batches import Batch
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.inference.generation_config import save_generation_config
from tinygrad_llm.recipes.corpus import END, prepare_corpus
from tinygrad_llm.recipes.forecast import check_memory, forecast
from tinygrad_llm.recipes.kinds import KINDS, SAMPLING, Kind
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Outcome, Run, plan_of, remedied, restore, train_run
from tinygrad_llm.recipes.run_folder import open_folder
from tinygrad_llm.recipes.settings import Settings
from tinygrad_llm.text import Tokenizer, token_lengths
from tinygrad_llm.training.evaluation import BATCH_TOKENS, Score, evaluate
from tinygrad_llm.training.optimizer import AdamW


@dataclass
class Pretraining(Run):
    """A model that learns from a text what its kind asks: for a GPT, to predict the next token."""

    settings: Settings
    tokenizer: Tokenizer
    validation: Tokens

    @property
    def kind(self) -> Kind:
        """What it trains."""
        return KINDS[self.settings.run.model]

    def evaluate(self) -> Score:
        """The loss on the whole held-out text, in windows of one context each."""
        return evaluate(self.model, self.objective, self.held_out(), token_lengths(self.tokenizer))

    def held_out(self) -> Iterator[Batch]:
        context = self.model.config.n_positions
        size = max(1, BATCH_TOKENS // context)
        return self.kind.windows(
            self.validation, self.tokenizer, batch_size=size, context=context
        )

    def save_model(self) -> None:
        save_model(self.folder, self.model)

    def sample(self, tokens: int = 100) -> str:
        """What the model makes of the held-out text's beginning."""
        rng = np.random.default_rng([self.settings.run.seed, self.optimizer.steps])
        beginning = self.validation[:tokens]
        return self.kind.sample(self.model, self.tokenizer, beginning, rng, tokens)


def pretrain(
    settings: Settings,
    folder: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Outcome:
    """Train a GPT, or what else the settings name, on their text and leave it in `folder`.

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
    kind, context = KINDS[settings.run.model], config.n_positions
    batches = kind.batches(
        training,
        tokenizer,
        batch_size=settings.loop.batch_size,
        context=context,
        rng=np.random.default_rng(batches_seed),
    )
    kind.windows(validation, tokenizer, batch_size=1, context=context)  # refuses too short a text
    rng = np.random.default_rng(weights_seed)
    model = kind.build(config, rng=rng)
    if settings.run.model == "gpt":
        end = tokenizer.special_tokens.get(END)
        save_generation_config(folder, dataclasses.replace(SAMPLING, eos_token_id=end))
    return Pretraining(
        folder,
        model,
        kind.objective,
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

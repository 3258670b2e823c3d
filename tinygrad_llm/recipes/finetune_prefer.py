"""Fine-tuning on preferences: of two answers to an instruction the model learns to give the chosen
one more weight, by DPO.

The folder has, beside the best model and its adapters, settings.toml, log.jsonl, loss.png, the
checkpoint, reference.safetensors (what the base thinks of every answer) and at the end result.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import write_atomic
from tinygrad_llm.finetuning.epochs import Epochs
from tinygrad_llm.finetuning.instructions import (
    Record,
    Split,
    Template,
    choose_template,
    encode_example,
    read_records,
    split,
)
from tinygrad_llm.finetuning.lora import LoRAConfig
from tinygrad_llm.finetuning.preferences import (
    FIELDS,
    Pair,
    PreferenceScore,
    pad_pairs,
    preference_loss,
    reference_of,
    score_preferences,
    that_differ,
)
from tinygrad_llm.recipes.adapting import Adapting, is_kept, open_decoder, short_enough
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run_folder import open_folder
from tinygrad_llm.recipes.settings import Groups
from tinygrad_llm.recipes.tuning import Base, TuningConfig, course, tune
from tinygrad_llm.tensor_files import load_tensors, save_tensors
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.loop import Batch
from tinygrad_llm.training.optimizer import AdamW, AdamWConfig

REFERENCE, RESULT = "reference.safetensors", "result.json"
PARTS = Split._fields
ANSWER_TOKENS = 128  # what generation_config.json says of the model that comes out


@dataclass(frozen=True)
class PreferConfig:
    """How answers are compared."""

    template: str | None = None  # alpaca or chatml; none: chatml where the tokenizer knows it
    beta: float = 0.1  # how dear it is to leave the reference; smaller lets the model go further

    def __post_init__(self) -> None:
        if not 0 < self.beta < 100:
            raise InputError(f"beta {self.beta} is not in (0, 100)")


@dataclass(frozen=True)
class PreferSettings(Groups):
    """The groups of a run on preferences."""

    tuning: TuningConfig = field(
        default_factory=lambda: TuningConfig(
            epochs=1, batch_size=4, max_length=512, lr=1e-4, evaluations=4
        )
    )
    prefer: PreferConfig = field(default_factory=PreferConfig)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    adamw: AdamWConfig = field(default_factory=lambda: AdamWConfig(weight_decay=0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora.dropout:
            raise InputError(
                f"dropout {self.lora.dropout}: preferences are learned without dropout, or the "
                "model would differ from its reference by chance; leave it out"
            )


class Part(NamedTuple):
    """Pairs in the order of their lengths, and what the reference thinks of them (P, 2)."""

    pairs: list[Pair]
    reference: np.ndarray

    def batch(self, some: np.ndarray) -> Batch:
        """What preference_loss takes: inputs, reference, targets."""
        inputs, targets = pad_pairs([self.pairs[i] for i in some])
        return inputs, self.reference[some], targets

    def batches(self, size: int) -> Iterator[Batch]:
        starts = range(0, len(self.pairs), size)
        return (self.batch(np.arange(s, min(s + size, len(self.pairs)))) for s in starts)


@dataclass
class Preferring(Adapting):
    """A run on preferences."""

    beta: float
    validation: Part
    test: Part

    def evaluate(self) -> PreferenceScore:
        return self.score(self.validation)

    def score(self, part: Part) -> PreferenceScore:
        """The model as it is now on a part of the pairs."""
        return score_preferences(self.model, part.batches(self.loop.batch_size), self.beta)

    def held_out(self) -> Iterator[Batch]:
        return self.validation.batches(self.loop.batch_size)


class Result(NamedTuple):
    """What a run came to. signal: the one that stopped it, and then nothing else is there.

    test: the best model on pairs that it never saw; the base has a loss of log 2 there.
    """

    run: Preferring
    signal: int | None
    train_seconds: float
    test: PreferenceScore | None = None


def finetune_prefer(
    settings: PreferSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Train a GPT or a Llama on the settings' pairs of answers, and leave it in `folder`.

    resume: go on with the run that is there, if there is one. InputError for settings, data, a base
    or a folder that cannot work, NonFiniteLoss where training breaks down.
    """
    reporter, folder = reporter or Reporter(), Path(folder)
    with open_folder(settings, folder, resume):
        records = read_records(settings.tuning.data, FIELDS)
        parts = Split(*map(that_differ, split(records)))
        if alike := len(records) - sum(map(len, parts)):
            reporter.note(f"{alike} examples whose two answers are the same are left out")
        run = build(settings, parts, folder, reporter)
        outcome = tune(run, reporter)
        if outcome.signal is not None:
            return Result(run, outcome.signal, outcome.train_seconds)
        run.model = run.finish(ANSWER_TOKENS)
        test = run.score(run.test)
        document = {
            "test_loss": test.loss,
            "test_reward_margin": test.margin,
            "test_accuracy": test.accuracy,
            "best_step": run.progress.best_step,
        }
        write_atomic(folder / RESULT, json.dumps(document, indent=2) + "\n")
        return Result(run, None, outcome.train_seconds, test)


def build(settings: PreferSettings, parts: Split, folder: Path, reporter: Reporter) -> Preferring:
    """Base, adapters, pairs, reference, optimizer and batches at step 0."""
    tuning, beta = settings.tuning, settings.prefer.beta
    rng = np.random.default_rng([tuning.seed, 1])
    base = open_decoder(tuning.base, settings.lora, rng)
    template = choose_template(base.tokenizer, settings.prefer.template)
    base.save_tokenizer(folder)
    most = min(tuning.max_length, base.model.config.n_positions)
    both = [[_pair(base.tokenizer, template, record) for record in part] for part in parts]
    pairs = [_sorted(part, most, reporter) for part in both]
    training, test, validation = _with_reference(base, pairs, tuning.batch_size, folder, reporter)
    batches = Epochs(
        [_length(pair) for pair in training.pairs],
        training.batch,
        batch_size=tuning.batch_size,
        rng=np.random.default_rng([tuning.seed, 2]),
    )
    return Preferring(
        folder,
        base.model,
        preference_loss(beta),
        AdamW(base.model.parameters(), settings.adamw),
        batches,
        rng,
        *course(tuning, batches),
        base=base,
        template=template,
        beta=beta,
        validation=validation,
        test=test,
    )


def _length(pair: Pair) -> int:
    return max(len(example.ids) for example in pair)


def _pair(tokenizer: Tokenizer, template: Template, record: Record) -> Pair:
    return Pair(*(encode_example(tokenizer, template, record, side) for side in Pair._fields))


def _sorted(pairs: list[Pair], most: int, reporter: Reporter) -> list[Pair]:
    return sorted(short_enough(pairs, list(map(_length, pairs)), most, reporter), key=_length)


def _with_reference(
    base: Base, pairs: list[list[Pair]], size: int, folder: Path, reporter: Reporter
) -> list[Part]:
    """The parts with what the model, which nothing has trained yet, thinks of each answer: read
    from the folder where an earlier start left it, so that a run goes on bit for bit.
    """
    path = folder / REFERENCE
    if not is_kept(path):
        found = {}
        with reporter.progress("reference", sum(map(len, pairs)), "pairs") as done:
            for name, part in zip(PARTS, pairs):
                found[name] = reference_of(base.model, _told(part, size, done))
        save_tensors(path, found)
    stored, _ = load_tensors(path)
    shapes = {name: (len(part), 2) for name, part in zip(PARTS, pairs)}
    if {name: array.shape for name, array in stored.items()} != shapes:
        raise InputError(f"{path} is of other pairs; remove it, and it is made anew")
    return [Part(part, stored[name]) for name, part in zip(PARTS, pairs)]


def _told(
    pairs: list[Pair], size: int, done: Callable[[int], object]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs in batches; `done` hears of each when the next one is asked for."""
    for start in range(0, len(pairs), size):
        batch = pairs[start : start + size]
        yield pad_pairs(batch)
        done(len(batch))

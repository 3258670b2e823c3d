"""Fine-tuning on instructions: a pretrained model and examples in, a folder that answers out.

The folder has, beside the best model and its adapters, settings.toml, log.jsonl, loss.png, the
checkpoint, before.json and, at the end, answers.json: the test part's answers before and after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.explain.tokens import masked
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.finetuning.instructions import (
    Encoded,
    Record,
    Split,
    choose_template,
    encode_example,
    epochs,
    pad,
    read_records,
    split,
)
from tinygrad_llm.finetuning.lora import LoRAConfig
from tinygrad_llm.finetuning.scoring import AnswerScore
from tinygrad_llm.recipes.adapting import Adapting, is_kept, open_decoder, short_enough
from tinygrad_llm.recipes.answers import answer, write_answers
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run_folder import open_folder
from tinygrad_llm.recipes.settings import Groups
from tinygrad_llm.recipes.tuning import TuningConfig, course, open_base, tune
from tinygrad_llm.text import token_lengths
from tinygrad_llm.training.evaluation import Score, evaluate
from tinygrad_llm.training.loop import Batch
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW, AdamWConfig

BEFORE, ANSWERS = "before.json", "answers.json"


@dataclass(frozen=True)
class InstructConfig:
    """How instructions are put, and how long an answer may be."""

    template: str | None = None  # alpaca or chatml; none: chatml where the tokenizer knows it
    answer_tokens: int = 128  # the most that an answer to a test instruction has

    def __post_init__(self) -> None:
        if self.answer_tokens < 1:
            raise InputError(f"answer_tokens is {self.answer_tokens}; it must be at least 1")


@dataclass(frozen=True)
class InstructSettings(Groups):
    """The groups of a run on instructions."""

    tuning: TuningConfig = field(
        default_factory=lambda: TuningConfig(epochs=2, max_length=512, lr=1e-3, evaluations=2)
    )
    instruct: InstructConfig = field(default_factory=InstructConfig)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    adamw: AdamWConfig = field(default_factory=lambda: AdamWConfig(weight_decay=0.0))


@dataclass
class Instructing(Adapting):
    """A run on instructions. validation: examples in the order of their lengths."""

    validation: list[Encoded]

    def evaluate(self) -> Score:
        lengths = token_lengths(self.base.tokenizer)
        return evaluate(self.model, next_token, self.held_out(), lengths)

    def held_out(self) -> Iterator[Batch]:
        size = self.loop.batch_size
        starts = range(0, len(self.validation), size)
        return (pad(self.validation[start : start + size]) for start in starts)


class Result(NamedTuple):
    """What a run came to. signal: the one that stopped it, and then nothing else is there.

    before, after: the base and the best model on the test instructions. start, end: their losses on
    the held-out answers.
    """

    run: Instructing
    signal: int | None
    train_seconds: float
    start: float = 0.0
    end: float = 0.0
    before: AnswerScore | None = None
    after: AnswerScore | None = None


def finetune_instruct(
    settings: InstructSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Train a GPT or a Llama to answer as the settings' examples do, and leave it in `folder`.

    resume: go on with the run that is there, if there is one. InputError for settings, data, a base
    or a folder that cannot work, NonFiniteLoss where training breaks down.
    """
    reporter, folder = reporter or Reporter(), Path(folder)
    with open_folder(settings, folder, resume):
        parts = split(read_records(settings.tuning.data))
        run = build(settings, parts, folder, reporter)
        start, before = _before(run, parts.test, settings.instruct.answer_tokens, reporter)
        outcome = tune(run, reporter)
        if outcome.signal is not None:
            return Result(run, outcome.signal, outcome.train_seconds)
        most = settings.instruct.answer_tokens
        run.model = run.finish(most)
        after = _answers(run, parts.test, most, reporter)
        scores = write_answers(folder / ANSWERS, parts.test, {"before": before, "after": after})
        end = run.progress.best[0] if run.progress.best else start
        return Result(run, None, outcome.train_seconds, start, end, *scores.values())


def build(
    settings: InstructSettings, parts: Split, folder: Path, reporter: Reporter
) -> Instructing:
    """Base, adapters, examples, optimizer and batches at step 0."""
    tuning = settings.tuning
    rng = np.random.default_rng([tuning.seed, 1])
    base = open_decoder(tuning.base, settings.lora, rng)
    template = choose_template(base.tokenizer, settings.instruct.template)
    base.save_tokenizer(folder)
    most = min(tuning.max_length, base.model.config.n_positions)
    training, validation = (
        _encoded([encode_example(base.tokenizer, template, r) for r in part], most, reporter)
        for part in (parts.training, parts.validation)
    )
    order = np.random.default_rng([tuning.seed, 2])
    batches = epochs(training, batch_size=tuning.batch_size, rng=order)
    reporter.note(
        f"{len(training):,} examples to train on, {len(validation):,} to choose by, "
        f"{len(parts.test):,} to test; template {template.name}"
    )
    return Instructing(
        folder,
        base.model,
        next_token,
        AdamW(base.model.parameters(), settings.adamw),
        batches,
        rng,
        *course(tuning, batches),
        base=base,
        template=template,
        validation=sorted(validation, key=lambda example: len(example.ids)),
    )


def _encoded(examples: list[Encoded], most: int, reporter: Reporter) -> list[Encoded]:
    return short_enough(examples, [len(example.ids) for example in examples], most, reporter)


def _answers(run: Instructing, records: list[Record], most: int, reporter: Reporter) -> list[str]:
    return answer(
        run.model,
        run.base.tokenizer,
        run.template,
        records,
        answer_tokens=most,
        reporter=reporter,
    )


def _before(
    run: Instructing, records: list[Record], most: int, reporter: Reporter
) -> tuple[float, list[str]]:
    """The held-out loss and the test answers of the base, which a run computes once."""
    path = run.folder / BEFORE
    if not is_kept(path):
        score = run.evaluate()
        reporter.note(f"before training: held-out {score}")
        answers = _answers(run, records, most, reporter)
        document = {"loss": score.loss, "answers": answers}
        write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    document = read_json_object(path)
    try:
        return float(document["loss"]), [str(document["answers"][i]) for i in range(len(records))]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged ({error!r}); remove it, and it is made anew") from None


def shown_examples(settings: InstructSettings, count: int) -> Iterator[str]:
    """The first examples as training sees them, in colour: what is read, what the loss counts."""
    tokenizer = open_base(settings.tuning.base, np.random.default_rng(0)).tokenizer
    template = choose_template(tokenizer, settings.instruct.template)
    for record in read_records(settings.tuning.data)[:count]:
        ids, first = encode_example(tokenizer, template, record)
        yield masked(tokenizer, ids, first)

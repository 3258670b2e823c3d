"""Fine-tuning for classification: a pretrained model and labelled texts in, a folder that labels
texts out, scored on texts it never saw and beside a bag of words.

The folder has, beside the best classifier, settings.toml, log.jsonl, loss.png, checkpoint, and at
the end result.json and confusion.png.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError, suggest
from tinygrad_llm.files import write_atomic
from tinygrad_llm.finetuning import classifier as teaching
from tinygrad_llm.finetuning import labelled
from tinygrad_llm.finetuning.bag_of_words import STEPS, BagOfWords
from tinygrad_llm.finetuning.confusion import Confusion
from tinygrad_llm.finetuning.lora import LoRAConfig, add_lora, folded, lora_layers
from tinygrad_llm.formats.classifier import load_classifier, save_classifier
from tinygrad_llm.models.classifier import Classifier
from tinygrad_llm.nn.quantized import named_blocks
from tinygrad_llm.recipes.forecast import physical_memory
from tinygrad_llm.recipes.plots import draw_confusion
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Run
from tinygrad_llm.recipes.run_folder import open_folder
from tinygrad_llm.recipes.settings import Groups
from tinygrad_llm.recipes.tuning import Base, TuningConfig, course, open_base, timed, tune
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.optimizer import AdamW, AdamWConfig

RESULT = "result.json"
BALANCES = ("sample", "weight", "none")


@dataclass(frozen=True)
class ClassifyConfig:
    """What the examples are, and how the base reads them."""

    text_column: str | None = None  # none: guessed from the names of the columns
    label_column: str | None = None  # likewise
    balance: str = "sample"  # sample: as many of each label as of the rarest; weight; none
    validation: float = 0.1  # share of the examples that chooses the best weights
    test: float = 0.2  # share that is scored at the end
    freeze: int | str = 0  # the first blocks that stay as they are; all: only the head trains
    pooling: str | None = None  # last (GPT, Llama), mean or cls (Bert); none: last or mean
    from_scratch: bool = False  # forget the base's weights: what pretraining is worth

    def __post_init__(self) -> None:
        if self.balance not in BALANCES:
            raise suggest(self.balance, BALANCES, "balance")
        if isinstance(self.freeze, str) and self.freeze != "all":
            raise InputError(f"freeze is {self.freeze!r}; give a number of blocks, or all")
        if not (self.validation > 0 < self.test and self.validation + self.test < 1):
            raise InputError(
                f"validation {self.validation:g} and test {self.test:g} are shares above 0 that "
                "leave some examples to train on"
            )


@dataclass(frozen=True)
class ClassifySettings(Groups):
    """The four groups of a classification run."""

    tuning: TuningConfig = field(default_factory=lambda: TuningConfig(lr=1e-4))
    adamw: AdamWConfig = field(default_factory=AdamWConfig)
    lora: LoRAConfig = field(default_factory=lambda: LoRAConfig(rank=0))
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)


@dataclass
class Classifying(Run):
    """A model that learns to label texts. validation, test: rows as the model reads them, labels'
    numbers.
    """

    validation: tuple[list[np.ndarray], np.ndarray]
    test: tuple[list[np.ndarray], np.ndarray]
    max_tokens: int
    pad_id: int | None

    def evaluate(self) -> Confusion:
        return teaching.evaluate(self.model, *self.validation)

    def held_out(self) -> Iterator[teaching.Batch]:
        return teaching.in_order(*self.validation)

    def save_model(self) -> None:
        with folded(self.model):
            save_classifier(self.folder, self.model, max_tokens=self.max_tokens, pad_id=self.pad_id)


class Result(NamedTuple):
    """test: of the best weights on the test part; None where a signal stopped the run. The others:
    accuracy there of a bag of words, and of always naming the label most frequent in training.
    """

    run: Classifying
    signal: int | None
    train_seconds: float
    test: Confusion | None = None
    bag_of_words: float = 0.0
    majority: float = 0.0


def finetune_classify(
    settings: ClassifySettings,
    folder: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Fine-tune the base that the settings name on their examples, leave it in `folder`, score it.

    resume: go on with the run that is there, if there is one. Raises InputError for settings, data,
    a base or a folder that cannot work, and NonFiniteLoss where training breaks down.
    """
    reporter, folder = reporter or Reporter(), Path(folder)
    with open_folder(settings, folder, resume):
        parts = read_parts(settings, reporter)
        run = build(settings, parts, folder, reporter)
        outcome = tune(run, reporter)
        if outcome.signal is not None:
            return Result(run, outcome.signal, outcome.train_seconds)
        best, _ = load_classifier(folder)
        score = teaching.evaluate(best.freeze(run.model.frozen), *run.test)
        result = Result(run, None, outcome.train_seconds, score, *_baselines(parts, reporter))
        _write(result, reporter)
        return result


def read_parts(settings: ClassifySettings, reporter: Reporter) -> labelled.Split:
    """The examples of the file, balanced if that is wanted, in three parts."""
    config, tuning = settings.classify, settings.tuning
    examples = labelled.read_labelled(
        tuning.data, text_column=config.text_column, label_column=config.label_column
    )
    rng = np.random.default_rng([tuning.seed, 0])
    there = len(examples.texts)
    if config.balance == "sample":
        examples = labelled.balanced(examples, rng)
    parts = labelled.split(examples, rng, validation=config.validation, test=config.test)
    counts = Counter(examples.labels)
    reporter.note(
        f"{len(examples.texts):,} of {there:,} examples: "
        f"{', '.join(f'{n:,} {label}' for label, n in sorted(counts.items())):.200}; "
        f"{len(parts.training.texts):,} to train on, {len(parts.validation.texts):,} to choose by, "
        f"{len(parts.test.texts):,} to test"
    )
    return parts


def build(
    settings: ClassifySettings, parts: labelled.Split, folder: Path, reporter: Reporter
) -> Classifying:
    """Base, head, rows, optimizer and batches at step 0."""
    config, tuning = settings.classify, settings.tuning
    rng = np.random.default_rng([tuning.seed, 1])
    base = open_base(tuning.base, rng)
    model = _classifier(base, settings, parts.names, rng)
    base.save_tokenizer(folder)
    most = min(tuning.max_length, model.context)
    rows = _rows(model, base.tokenizer, parts, most, reporter)
    numbers = [parts.numbers(part) for part in parts[:3]]
    weights = np.ones(len(parts.names))
    if config.balance == "weight":
        weights = labelled.class_weights(numbers[0], len(parts.names))
    order = np.random.default_rng([tuning.seed, 2])
    batches = teaching.epochs(rows[0], numbers[0], batch_size=tuning.batch_size, rng=order)
    return Classifying(
        folder,
        model,
        teaching.label_loss(weights),
        AdamW(model.parameters(), settings.adamw),
        batches,
        rng,
        *course(tuning, batches),
        validation=(rows[1], numbers[1]),
        test=(rows[2], numbers[2]),
        max_tokens=most,
        pad_id=min(base.tokenizer.special_tokens.values(), default=None),
    )


def _classifier(
    base: Base, settings: ClassifySettings, names: tuple[str, ...], rng: np.random.Generator
) -> Classifier:
    """The base, or a fresh model like it, with its adapters if there are to be any, and a head."""
    trunk, config = base.model, settings.classify
    if any(named_blocks(trunk)):
        raise InputError(
            f"the weights in {settings.tuning.base} are quantized, and a classifier is made of "
            "floats; give the model that they came from, or import it without --keep-bits"
        )
    if config.from_scratch:
        trunk = type(trunk)(trunk.config, rng=rng)
    if settings.lora.rank:
        add_lora(trunk, **vars(settings.lora), rng=rng)
    model = Classifier(trunk, names, pooling=config.pooling, rng=rng)
    model.freeze(len(model.blocks) if config.freeze == "all" else config.freeze)
    adapters = [adapter for _, layer in lora_layers(model) for adapter in layer.adapters]
    if adapters and not any(adapter.lora_A.requires_grad for adapter in adapters):
        raise InputError(
            f"freeze {config.freeze} leaves no adapter to train; freeze fewer blocks, or leave out "
            "--lora"
        )
    return model


def _rows(
    model: Classifier, tokenizer: Tokenizer, parts: labelled.Split, most: int, reporter: Reporter
) -> list[list[np.ndarray]]:
    """The ids of each text of the three parts; or what the frozen part makes of them, once."""
    rows = [teaching.encode_texts(tokenizer, part.texts, most) for part in parts[:3]]
    if cut := sum(len(row) == most for part in rows for row in part):
        reporter.note(f"{cut:,} texts reach max_length: their first {most} tokens count")
    if not model.frozen:
        return rows
    _check_room(model, rows)
    model.eval()
    total = sum(map(len, rows))
    middle = sorted((row for part in rows for row in part), key=len)[total // 2 :][:8]
    one = timed(lambda: teaching.keep(model, middle)) / len(middle)
    reporter.note(f"the frozen part reads each text once: about {total * one:,.0f} s")
    with reporter.progress("frozen part", total, "texts") as done:
        return [teaching.keep(model, part, done) for part in rows]


def _check_room(model: Classifier, rows: list[list[np.ndarray]]) -> None:
    """InputError where what is kept of the frozen part would fill half of the memory."""
    all_frozen = model.frozen == len(model.blocks)  # then one vector is kept of each text
    vectors = sum(1 if all_frozen else len(row) for part in rows for row in part)
    needed, there = 4 * vectors * model.score.weight.shape[1], physical_memory()
    if 0 < there < 2 * needed:
        raise InputError(
            f"what the frozen blocks make of these texts takes {needed // 10**6:,} MB, and this "
            f"machine has {there // 10**6:,}; take fewer texts, a smaller max_length, or freeze 0"
        )


def _baselines(parts: labelled.Split, reporter: Reporter) -> tuple[float, float]:
    training, test = parts.numbers(parts.training), parts.numbers(parts.test)
    with reporter.progress("bag of words", STEPS, "steps") as done:
        words = BagOfWords(parts.training.texts, training, len(parts.names), done)
    found = words.predict(parts.test.texts).argmax(1)
    return float(np.mean(found == test)), labelled.majority(training, test)


def _write(result: Result, reporter: Reporter) -> None:
    """result.json and confusion.png."""
    run, test = result.run, result.test
    document = {
        "labels": test.labels,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "precision": test.precision.tolist(),
        "recall": test.recall.tolist(),
        "confusion": test.counts.tolist(),
        "bag_of_words_accuracy": result.bag_of_words,
        "majority_accuracy": result.majority,
        "best_step": run.progress.best_step,
        "validation_accuracy": 1 - run.progress.best[0],
    }
    write_atomic(run.folder / RESULT, json.dumps(document, indent=2) + "\n")
    draw_confusion(run.folder, test.labels, test.counts, reporter)

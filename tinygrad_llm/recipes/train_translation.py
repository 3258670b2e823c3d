"""Training for translation: pairs of texts in, a folder with a transformer out, which transformers
opens as a MarianMTModel. Stopped at any moment, it goes on bit for bit.

Beside the model are settings.toml, log.jsonl, loss.png, checkpoint.safetensors, and the weights of
the last evaluations, of which the model is the mean.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygrad_llm.data.pairs import (
    END,
    PAD,
    START,
    Batch,
    PairBatches,
    Pairs,
    batches_in_order,
    encode_pairs,
    read_pairs,
    train_tokenizer,
)
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.inference.translate import GREEDY, translate_texts
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Outcome, Run, plan_of, remedied, restore, train_run
from tinygrad_llm.recipes.run_folder import open_folder
from tinygrad_llm.recipes.translation_settings import TranslationConfig, TranslationSettings
from tinygrad_llm.tensor_files import load_tensors, save_tensors
from tinygrad_llm.text import Tokenizer, load_tokenizer, token_lengths
from tinygrad_llm.training.evaluation import BATCH_TOKENS, Score, evaluate
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_target_token
from tinygrad_llm.training.optimizer import AdamW

AVERAGES = "averages"  # the folder of a run that holds the weights of its last evaluations
SAMPLES = 3  # texts that are translated between the steps

Texts = Sequence[tuple[str, str]]


@dataclass
class Translating(Run):
    """A run that trains for translation: it predicts the next token of the target."""

    settings: TranslationSettings
    tokenizer: Tokenizer
    validation: Pairs
    samples: Texts

    def evaluate(self) -> Score:
        """Without smoothing: -log p of the label alone."""
        lengths = token_lengths(self.tokenizer)
        return evaluate(self.model, next_target_token, self.held_out(), lengths)

    def held_out(self) -> Iterator[Batch]:
        return batches_in_order(self.validation, BATCH_TOKENS)

    def save_model(self) -> None:
        save_model(self.folder, self.model)

    def sample(self) -> str:
        """Some held-out texts, each with its greedy translation."""
        texts = [source for source, _ in self.samples]
        written = translate_texts(self.model, self.tokenizer, texts, GREEDY)
        return "\n".join(f"{a}\n  {b}" for a, b in zip(texts, written, strict=True))

    def evaluated(self) -> None:
        """Keep these weights, and those of so many evaluations before as the mean is made of."""
        path = self.folder / AVERAGES / f"step-{self.optimizer.steps:08}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_tensors(path, self.model.state_dict())
        for old in _kept(self.folder)[: -self.settings.run.average]:
            old.unlink()


def train_translation(
    settings: TranslationSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Outcome:
    """Train a transformer on the pairs that the settings name and leave it in `folder`.

    resume, and what is raised: as in pretrain.
    """
    reporter, folder = reporter or Reporter(), Path(folder)
    with open_folder(settings, folder, resume):
        run = build(settings, folder, reporter)
        restore(run)
        if run.optimizer.steps < settings.loop.steps:
            reporter.note("timing a step ...")
            reporter.note(forecast(run))
        with remedied(run):
            outcome = train_run(run, reporter)
    return outcome if outcome.signal is not None else _averaged(outcome, reporter)


def build(settings: TranslationSettings, folder: Path, reporter: Reporter) -> Translating:
    """Pairs, tokenizer, model, optimizer and batches at step 0."""
    training, held_out = _texts(settings.run)
    tokenizer = _tokenizer(settings, training, folder, reporter)
    config = _config(settings.model, tokenizer)
    pairs, left_out = encode_pairs(training, tokenizer, config.max_position_embeddings)
    validation, _ = encode_pairs(held_out, tokenizer, config.max_position_embeddings)
    if left_out:
        longest = config.max_position_embeddings
        reporter.warn(f"{left_out:,} pairs are left out: they have more than {longest} tokens")
    sizes = len(pairs), len(pairs.sources), len(pairs.targets), len(validation)
    reporter.note("%d pairs of %d and %d tokens; %d pairs are held out" % sizes)
    weights_seed, batches_seed = np.random.SeedSequence(settings.run.seed).spawn(2)
    batches = PairBatches(
        pairs,
        batch_tokens=settings.run.batch_tokens,
        rng=np.random.default_rng(batches_seed),
    )
    rng = np.random.default_rng(weights_seed)
    model = EncoderDecoder(config, rng=rng)
    smoothing = settings.run.label_smoothing
    return Translating(
        folder,
        model,
        functools.partial(next_target_token, label_smoothing=smoothing),
        AdamW(model.parameters(), settings.adamw),
        batches,
        rng,
        settings.loop,
        settings.schedule,
        plan_of(settings.run),
        settings,
        tokenizer,
        validation,
        held_out[:SAMPLES],
    )


def _texts(run: TranslationConfig) -> tuple[Texts, Texts]:
    """The pairs to train on, and those that are held out."""
    if not run.source:
        raise InputError("no text to learn from; name a file with --source")
    pairs = read_pairs(run.source, run.target or None)
    if run.val_source:
        return pairs, read_pairs(run.val_source, run.val_target or None)
    count = max(1, round(len(pairs) * run.validation))
    if count >= len(pairs):
        raise InputError(f"{len(pairs)} pairs are too few to hold some out; give more")
    return pairs[:-count], pairs[-count:]


def _tokenizer(
    settings: TranslationSettings, training: Texts, folder: Path, reporter: Reporter
) -> Tokenizer:
    """The one that this run stored, or that the settings name, or a new one."""
    stored, wanted = folder / "tokenizer.json", settings.run.tokenizer
    if stored.exists():
        return load_tokenizer(stored)
    if wanted != "bpe":
        if not Path(wanted).exists():
            raise InputError(f"tokenizer {wanted!r} is neither bpe nor an existing file")
        tokenizer = load_tokenizer(wanted)
    else:
        size = settings.model.vocab_size
        reporter.note(f"training a byte-pair vocabulary of {size:,} tokens for both languages")
        tokenizer = train_tokenizer(training, size, progress=reporter.advanced)
    tokenizer.save(stored)
    return tokenizer


def _config(config: EncoderDecoderConfig, tokenizer: Tokenizer) -> EncoderDecoderConfig:
    """The wanted shape with the tokenizer's ids."""
    special = tokenizer.special_tokens
    ids = {"pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": START}
    if missing := [name for name in ids.values() if name not in special]:
        raise InputError(f"the tokenizer has no {missing[0]}; name one of a run like this, or bpe")
    found = {key: special[name] for key, name in ids.items()}
    return dataclasses.replace(config, vocab_size=tokenizer.vocab_size, **found)


def forecast(run: Translating) -> str:
    """What the run will cost, from a few steps of a model like it on its own batches."""
    settings, rng = run.settings, np.random.default_rng(0)
    model = EncoderDecoder(run.model.config, rng=rng)
    optimizer = AdamW(model.parameters(), settings.adamw)
    batches = PairBatches(run.batches.pairs, batch_tokens=settings.run.batch_tokens, rng=rng)
    times, clip = [], settings.loop.clip
    while len(times) < 21 and sum(times[1:]) < 3.0:
        start = time.perf_counter()
        train_step(model, run.objective, optimizer, [next(batches)], lr=0.0, clip=clip, rng=rng)
        times.append(time.perf_counter() - start)
    step = float(np.mean(times[1:])) * settings.loop.accumulation
    left = settings.loop.steps - run.optimizer.steps
    # a forward pass is a third of a step
    scoring = len(run.validation.targets) / settings.run.batch_tokens / 3 * step
    seconds = left * step + left // settings.run.eval_every * scoring
    return (
        f"{model.num_parameters():,} parameters, {step * 1e3:,.0f} ms a step, "
        f"about {seconds / 60:,.1f} minutes"
    )


def _averaged(outcome: Outcome, reporter: Reporter) -> Outcome:
    """Give the run the mean of its last weights, if that scores better than its best ones did.

    Vaswani et al. 2017, section 6.1.
    """
    run, states = outcome.run, [load_tensors(path)[0] for path in _kept(outcome.run.folder)]
    if len(states) < 2:
        return outcome
    last = {name: array.copy() for name, array in run.model.state_dict().items()}
    run.model.load_state_dict({k: np.mean([state[k] for state in states], axis=0) for k in last})
    score, best = run.evaluate(), run.progress.best[0]
    reporter.note(
        f"the mean of the last {len(states)} evaluations' weights: held-out loss {score.loss:.4f} "
        f"nats/token; the best of one evaluation is {best:.4f}"
    )
    if not score.loss < best:
        run.model.load_state_dict(last)
        return outcome
    save_model(run.folder, run.model)
    return outcome._replace(score=score)


def _kept(folder: Path) -> list[Path]:
    return sorted((folder / AVERAGES).glob("step-*.safetensors"))

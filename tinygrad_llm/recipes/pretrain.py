"""Pretraining: text in, a folder with a trained GPT or BERT out. Stopped at any moment, it goes on
bit for bit.

The run folder is a Hugging Face folder with, beside the best model, settings.toml, log.jsonl,
loss.png, the tokens and checkpoint.safetensors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.data.batches import Batch, Batches
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError, NonFiniteLoss
from tinygrad_llm.explain.nan import diagnose
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.inference.generation_config import save_generation_config
from tinygrad_llm.recipes.corpus import END, prepare_corpus
from tinygrad_llm.recipes.forecast import check_memory, forecast
from tinygrad_llm.recipes.kinds import KINDS, SAMPLING, Kind
from tinygrad_llm.recipes.plots import draw_losses
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run_folder import has_saved, open_folder
from tinygrad_llm.recipes.settings import Settings
from tinygrad_llm.nn import Module
from tinygrad_llm.text import Tokenizer, token_lengths
from tinygrad_llm.training import checkpoint
from tinygrad_llm.training.evaluation import Score, evaluate
from tinygrad_llm.training.journal import Journal
from tinygrad_llm.training.loop import train
from tinygrad_llm.training.masking import MaskedBatches
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.signals import stop_request

EVALUATION_TOKENS = 4096  # tokens in one forward pass of an evaluation


@dataclass
class Progress:
    """What a run has come to; stored in the checkpoint."""

    best_loss: float = math.inf  # on the held-out text, nats per token
    best_step: int = 0
    evaluations_since_best: int = 0


@dataclass
class Run:
    """Everything that one pretraining run holds while it trains."""

    settings: Settings
    folder: Path
    tokenizer: Tokenizer
    model: Module
    optimizer: AdamW
    batches: Batches | MaskedBatches
    validation: Tokens
    rng: np.random.Generator  # of the weights, then of dropout
    progress: Progress

    @property
    def kind(self) -> Kind:
        """What it trains."""
        return KINDS[self.settings.run.model]


class Outcome(NamedTuple):
    """How a run ended. score: the last on the held-out text. signal: the one that stopped it.

    train_seconds: spent in steps since this process began or resumed the run.
    """

    run: Run
    score: Score | None
    signal: int | None
    train_seconds: float


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
        if (folder / checkpoint.FILE).exists():
            restore(run)
        if run.optimizer.steps < settings.loop.steps:
            reporter.note("timing a step ...")
            resolved = dataclasses.replace(settings, model=run.model.config)
            reporter.note(str(forecast(resolved, evaluation_tokens=len(run.validation))))
        try:
            return _train(run, reporter)
        except NonFiniteLoss as error:
            raise NonFiniteLoss(f"{error}; {_remedy(run)}") from error


def _remedy(run: Run) -> str:
    """What may keep the next try's loss a finite number, in a folder that it may use."""
    lr, warmup = run.settings.schedule.lr, run.settings.schedule.warmup
    again = "start a new run with another --out," if has_saved(run.folder) else "run again with"
    return (
        f"{again} a smaller lr (such as --set lr={lr / 10:g}; it was {lr:g}) or a longer warmup "
        f"(it was {warmup} steps)"
    )


def build(settings: Settings, folder: Path, reporter: Reporter) -> Run:
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
    optimizer = AdamW(model.parameters(), settings.adamw)
    return Run(settings, folder, tokenizer, model, optimizer, batches, validation, rng, Progress())


def _train(run: Run, reporter: Reporter) -> Outcome:
    """The loop with what happens between its steps: log, evaluate, save, sample, stop."""
    plan, steps = run.settings.run, run.settings.loop.steps
    score, seconds, journal = None, 0.0, Journal(run.folder, run.optimizer.steps)
    reporter.started(run.optimizer.steps, steps)
    with contextlib.ExitStack() as stack:
        stack.callback(reporter.finished)
        stack.enter_context(contextlib.closing(journal))
        request = stack.enter_context(stop_request())
        for report in train(
            run.model,
            run.kind.objective,
            run.optimizer,
            run.batches,
            rng=run.rng,
            loop=run.settings.loop,
            schedule=run.settings.schedule,
        ):
            stop = request.signal is not None
            seconds += report.seconds
            journal.write(**report._asdict())
            reporter.stepped(report)
            if _due(report.step, plan.eval_every, steps):
                score = _evaluate(run, journal, reporter)
            if stop or _due(report.step, plan.save_every, steps):
                save(run)
            if plan.sample_every and _due(report.step, plan.sample_every, steps):
                reporter.sampled(report.step, sample(run))
            if stop or _hopeless(run, reporter):
                break
    save(run)
    draw_losses(run.folder, reporter)
    return Outcome(run, score, request.signal, seconds)


def _hopeless(run: Run, reporter: Reporter) -> bool:
    """Whether the held-out loss has not fallen for as long as the run's patience lasts."""
    patience, waited = run.settings.run.patience, run.progress.evaluations_since_best
    if not 0 < patience <= waited:
        return False
    reporter.note(
        f"step {run.optimizer.steps}: no better held-out loss in {waited} evaluations; "
        "training stops early"
    )
    return True


def _due(step: int, every: int, steps: int) -> bool:
    return step % every == 0 or step == steps


def _evaluate(run: Run, journal: Journal, reporter: Reporter) -> Score:
    """Score the held-out text; keep the weights as the run's model if they are the best so far."""
    score, step, progress = evaluate_run(run), run.optimizer.steps, run.progress
    if not math.isfinite(score.loss):
        raise NonFiniteLoss(
            f"step {step}: the held-out loss is no longer a finite number; {_birth(run)}"
        )
    journal.write(step=step, validation_loss=score.loss, bits_per_byte=score.bits_per_byte)
    reporter.evaluated(step, score)
    if score.loss < progress.best_loss:
        run.progress = Progress(score.loss, step, 0)
        save_model(run.folder, run.model)
    else:
        progress.evaluations_since_best += 1
    return score


def evaluate_run(run: Run) -> Score:
    """The loss on the whole held-out text, in windows of one context each."""
    return evaluate(run.model, run.kind.objective, held_out(run), token_lengths(run.tokenizer))


def held_out(run: Run) -> Iterator[Batch]:
    """The whole held-out text as the model is evaluated on it."""
    context = run.model.config.n_positions
    size = max(1, EVALUATION_TOKENS // context)
    return run.kind.windows(run.validation, run.tokenizer, batch_size=size, context=context)


def _birth(run: Run) -> str:
    """Where the held-out loss ceased to be a finite number."""
    run.model.eval()
    births = (diagnose(lambda b=b: run.kind.objective(run.model, *b).total) for b in held_out(run))
    return next(filter(None, births), "each part of it is finite, but their sum is not")


def save(run: Run) -> None:
    """Write the checkpoint, and the model too where no evaluation has written one yet."""
    progress = {"batches": run.batches.state_dict(), **vars(run.progress)}
    if run.progress.best_step == 0:
        progress["best_loss"] = None  # JSON knows no infinity
        save_model(run.folder, run.model)
    checkpoint.save_checkpoint(run.folder, run.model, run.optimizer, run.rng, progress)


def restore(run: Run) -> None:
    """Bring the run to where its checkpoint left it."""
    stored = checkpoint.load_checkpoint(run.folder, run.model, run.optimizer, run.rng)
    try:
        run.batches.load_state_dict(stored["batches"])
        best = math.inf if stored["best_loss"] is None else float(stored["best_loss"])
        run.progress = Progress(
            best, int(stored["best_step"]), int(stored["evaluations_since_best"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{run.folder / checkpoint.FILE} is no checkpoint of this run ({error}); "
            "remove it to start again"
        ) from error


def sample(run: Run, tokens: int = 100) -> str:
    """What the model makes of the held-out text's beginning. Draws from a generator of its own."""
    rng = np.random.default_rng([run.settings.run.seed, run.optimizer.steps])
    return run.kind.sample(run.model, run.tokenizer, run.validation[:tokens], rng, tokens)

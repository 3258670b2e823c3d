"""A trained model beside simpler models of text, on the same held-out part: gzip, a bigram and a
trigram beside a GPT, trigrams that fill places beside a BERT.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.data.baselines import fill_hidden, gzip_bits_per_byte, ngram_bits_per_byte
from tinygrad_llm.inference.decoder import evaluating
from tinygrad_llm.recipes.pretrain import Pretraining
from tinygrad_llm.training.masking import IGNORE

MOST_TOKENS = 20_000_000  # counting n-grams of more would take longer than it is worth
MOST_PLACES = 1000  # that are filled: trigrams weigh every word of the vocabulary at each


class Filled(NamedTuple):
    """How places were filled: the share that is right, and nats a place, -log p of what stood."""

    accuracy: float
    nats: float


def baselines(run: Pretraining) -> dict[str, float]:
    """Bits per byte on the run's held-out text; the n-grams count the same tokens that the model
    reads.
    """
    training = run.batches.tokens
    if len(training) + len(run.validation) > MOST_TOKENS:
        return {}
    train_ids, held_out = training[:], run.validation[:]
    text = run.tokenizer.decode_bytes(held_out.tolist())
    rows = {"gzip": gzip_bits_per_byte(text)}
    for name, order in (("bigram", 2), ("trigram", 3)):
        rows[name] = ngram_bits_per_byte(
            train_ids, held_out, len(text), order=order, vocab_size=run.tokenizer.vocab_size
        )
    return rows


def fillers(
    run: Pretraining, progress: Callable[[int], object] = lambda done: None
) -> dict[str, Filled]:
    """A BERT and trigrams at the first hidden places of the run's held-out text, about MOST_PLACES.

    progress is told of places that trigrams have filled; each is filled twice.
    """
    training = run.batches.tokens
    if len(training) > MOST_TOKENS:
        return {}
    parts, places = [], 0
    for batch in run.held_out():
        parts += list(zip(*batch, strict=True))
        places += int((batch[1] != IGNORE).sum())
        if places >= MOST_PLACES:
            break
    rows = {"this BERT": _filled_by_model(run, parts)}
    inputs, targets = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    hidden = targets != IGNORE
    ids = np.where(hidden, targets, inputs)
    for name, both in (("trigrams, both sides", True), ("trigrams, left side", False)):
        best, p = fill_hidden(
            training[:],
            ids,
            hidden,
            both_sides=both,
            vocab_size=run.tokenizer.vocab_size,
            progress=progress,
        )
        rows[name] = Filled(float((best == ids[hidden]).mean()), float(-np.log(p).mean()))
    return rows


def _filled_by_model(run: Pretraining, parts: list[tuple[np.ndarray, np.ndarray]]) -> Filled:
    """The model's answers for rows (inputs (T,), targets (T,))."""
    right, nats = [], []
    for inputs, targets in parts:
        places = np.flatnonzero(targets != IGNORE)
        with evaluating(run.model):
            log_p = F.log_softmax(run.model(inputs[None])[0][places]).data
        right += (log_p.argmax(-1) == targets[places]).tolist()
        nats += (-log_p[np.arange(len(places)), targets[places]]).tolist()
    return Filled(float(np.mean(right)), float(np.mean(nats)))

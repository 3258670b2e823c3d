"""Beam search: the continuation with the best score among those that a few beams come across.

Graves 2012, arXiv 1211.3711; the score with its length penalty is that of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_llm.inference import sampling
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.inference.decoder import Decoder, checked_prompt
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.ops import normalize


class Hypothesis(NamedTuple):
    """A continuation and its score, log p(ids | prompt) / len(ids)^length_penalty."""

    ids: list[int]
    score: float


def beam_search(
    model: GPT, prompt: Sequence[int], config: GenerationConfig, *, use_cache: bool = True
) -> Hypothesis:
    """The best of num_beams beams, and never worse than the greedy continuation.

    A wider search can lose the greedy path on the way, so a search with one beam, which follows it,
    takes part. A repetition penalty changes p itself. Temperature, top_k and top_p have no effect.
    """
    ids = checked_prompt(model, prompt)
    widths = sorted({1, config.num_beams})
    found = [_search(Decoder(model, use_cache=use_cache), ids, config, width) for width in widths]
    return max(found, key=lambda hypothesis: hypothesis.score)


def _search(
    decoder: Decoder, prompt: list[int], config: GenerationConfig, width: int
) -> Hypothesis:
    """At each length the `width` likeliest texts go on; all that end there are compared."""
    texts, log_p = np.array([prompt]), np.zeros(1)  # (beams, tokens), (beams,)
    new, best = texts, Hypothesis([], -math.inf)
    for length in range(1, config.max_new_tokens + 1):
        log_probabilities = _log_probabilities(decoder.read(new), texts, config)
        totals = log_p[:, None] + log_probabilities  # (beams, V)
        for end in (token for token in config.eos_ids if token < totals.shape[1]):
            row = int(np.argmax(totals[:, end]))
            score = _score(totals[row, end], length, config)
            if score > best.score:
                best = Hypothesis([*texts[row, len(prompt) :].tolist(), end], score)
            totals[:, end] = -math.inf
        rows, tokens = _likeliest(totals, width)
        if not len(rows) or best.score >= _bound(totals[rows[0], tokens[0]], length, config):
            return best
        log_p, new = totals[rows, tokens], tokens[:, None]
        texts = np.concatenate([texts[rows], new], axis=1)
        decoder.reorder(rows)
    # No ended text beats the best of these: the last bound was its score.
    return Hypothesis(texts[0, len(prompt) :].tolist(), _score(log_p[0], length, config))


def _log_probabilities(
    logits: np.ndarray, texts: np.ndarray, config: GenerationConfig
) -> np.ndarray:
    logits = logits.astype(np.float64)
    if config.repetition_penalty != 1:
        logits = sampling.repetition_penalty(logits, texts, config.repetition_penalty)
    return normalize.log_softmax(logits)[0]


def _likeliest(totals: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and tokens of the `width` largest totals, largest first; of equal ones the first."""
    flat = totals.reshape(-1)
    least = np.partition(flat, -width)[-width] if width < flat.size else -math.inf
    likely = np.flatnonzero((flat >= least) & (flat > -math.inf))
    likely = likely[np.argsort(-flat[likely], kind="stable")[:width]]
    return np.divmod(likely, totals.shape[1])


def _score(log_p: float, length: int, config: GenerationConfig) -> float:
    return float(log_p) / length**config.length_penalty


def _bound(log_p: float, length: int, config: GenerationConfig) -> float:
    """The best score that a text of this log p can still reach: log p only falls from here."""
    longest = config.max_new_tokens if config.length_penalty > 0 else length
    return _score(log_p, longest, config)

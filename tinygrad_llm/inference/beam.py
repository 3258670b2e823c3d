"""Beam search: the continuation with the best score among those that a few beams come across.

Graves 2012, arXiv 1211.3711; the score with its length penalty is that of transformers, or of Wu et
al. 2016. A search knows no model: it says which texts it wants read, and is sent their scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tinygrad_llm.inference import sampling
from tinygrad_llm.inference.decoder import Decoder, checked_prompt
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.ops import normalize


class Hypothesis(NamedTuple):
    """A continuation and its score: log p(ids | prompt), divided by the penalty of its length."""

    ids: list[int]
    score: float


class Wanted(NamedTuple):
    """What a search asks for: of its texts so far those of `rows` go on, and read ids (n, T)."""

    rows: np.ndarray
    ids: np.ndarray


Search = Generator[Wanted, np.ndarray, Hypothesis]  # is sent the logits (n, V) of what it wanted


class Reader(Protocol):
    """A batch of texts that a model reads on and on, as Decoder."""

    def read(self, ids: np.ndarray) -> np.ndarray: ...

    def reorder(self, rows: np.ndarray) -> None: ...


def beam_search(
    model: GPT, prompt: Sequence[int], config: GenerationConfig, *, use_cache: bool = True
) -> Hypothesis:
    """The best of num_beams beams, and never worse than the greedy continuation.

    The score is log p / len(ids)^length_penalty. A wider search can lose the greedy path on the
    way, so a search with one beam, which follows it, takes part. A repetition penalty changes p
    itself. Temperature, top_k and top_p have no effect.
    """
    ids = checked_prompt(model, prompt)
    found = [
        search_all(Decoder(model, use_cache=use_cache), [search(ids, config, width, power(config))])
        for width in sorted({1, config.num_beams})
    ]
    return max((one for one, in found), key=lambda hypothesis: hypothesis.score)


def power(config: GenerationConfig) -> Callable[[int], float]:
    """transformers' penalty of a length: length^length_penalty."""
    return lambda length: length**config.length_penalty


def wu(config: GenerationConfig) -> Callable[[int], float]:
    """((5 + length) / 6)^length_penalty: Wu et al. 2016, arXiv 1609.08144, section 7."""
    return lambda length: ((5 + length) / 6) ** config.length_penalty


def search_all(reader: Reader, searches: Sequence[Search]) -> list[Hypothesis]:
    """Run searches side by side: in each step, one forward pass reads what all of them want.

    reader: at its beginning it has one row for each search, in order.
    """
    found: list[Hypothesis | None] = [None] * len(searches)
    wanted = [next(search) for search in searches]
    starts, running = list(range(len(searches))), list(range(len(searches)))
    while running:
        reader.reorder(np.concatenate([starts[i] + wanted[i].rows for i in running]))
        logits, end = reader.read(np.concatenate([wanted[i].ids for i in running])), 0
        for i in running:
            starts[i], end = end, end + len(wanted[i].rows)
            try:
                wanted[i] = searches[i].send(logits[starts[i] : end])
            except StopIteration as done:
                found[i] = done.value
        running = [i for i in running if found[i] is None]
    return found


def search(
    prompt: list[int], config: GenerationConfig, width: int, penalty: Callable[[int], float]
) -> Search:
    """At each length the `width` likeliest texts go on; all that end there are compared."""
    texts, log_p = np.array([prompt]), np.zeros(1)  # (beams, tokens), (beams,)
    wanted, best = Wanted(np.zeros(1, int), texts), Hypothesis([], -math.inf)
    for length in range(1, config.max_new_tokens + 1):
        totals = log_p[:, None] + _log_probabilities((yield wanted), texts, config)  # (beams, V)
        for end in (token for token in config.eos_ids if token < totals.shape[1]):
            row = int(np.argmax(totals[:, end]))
            score = float(totals[row, end]) / penalty(length)
            if score > best.score:
                best = Hypothesis([*texts[row, len(prompt) :].tolist(), end], score)
            totals[:, end] = -math.inf
        rows, tokens = _likeliest(totals, width)
        # log p only falls from here, so no text to come has a better score than this
        ahead = max(penalty(length), penalty(config.max_new_tokens))
        if not len(rows) or best.score >= float(totals[rows[0], tokens[0]]) / ahead:
            return best
        log_p, wanted = totals[rows, tokens], Wanted(rows, tokens[:, None])
        texts = np.concatenate([texts[rows], wanted.ids], axis=1)
    # No ended text beats the best of these: the last bound was its score.
    return Hypothesis(texts[0, len(prompt) :].tolist(), float(log_p[0]) / penalty(length))


def greedy_search(prompt: list[int], config: GenerationConfig) -> Search:
    """The best token after each, until one of config.eos_ids; the score is log p."""
    texts, ids, log_p = np.array([prompt]), np.array([prompt]), 0.0
    while texts.shape[1] < len(prompt) + config.max_new_tokens:
        log_probabilities = _log_probabilities((yield Wanted(np.zeros(1, int), ids)), texts, config)
        ids = np.argmax(log_probabilities, axis=1)[:, None]
        log_p += float(log_probabilities[0, ids[0, 0]])
        texts = np.concatenate([texts, ids], axis=1)
        if ids[0, 0] in config.eos_ids:
            break
    return Hypothesis(texts[0, len(prompt) :].tolist(), log_p)


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

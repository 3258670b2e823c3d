"""The kinds of models that pretraining makes: what each learns, from which batches, and what it
shows of itself meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tinygrad_llm.data.batches import Batch, Batches, windows
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.decoder import evaluating
from tinygrad_llm.inference.encode import MASK, wrap
from tinygrad_llm.inference.generate import complete
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.models.bert import BertForMaskedLM
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.nn import Module
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.masking import (
    IGNORE,
    MaskedBatches,
    Masking,
    masked_token,
    masked_windows,
)
from tinygrad_llm.training.objectives import Loss, next_token

PAD = "[PAD]"  # for transformers, which fills texts up with it; ours are hidden by a mask
SAMPLING = GenerationConfig(temperature=0.8, top_k=50)


class Kind(NamedTuple):
    """build: (config, rng=) -> model. objective: (model, inputs, targets) -> Loss.

    special_tokens: what its tokenizer has beside the text's tokens. batches, windows: (tokens,
    tokenizer, batch_size=, context=[, rng=]), as in data/batches.py. trial: ids (B, T + 1) and the
    vocabulary's size -> a batch to time. sample: (model, tokenizer, the held-out ids, rng, tokens)
    -> what to show of the model.
    """

    build: Callable[..., Module]
    objective: Callable[..., Loss]
    special_tokens: tuple[str, ...]
    batches: Callable[..., Batches | MaskedBatches]
    windows: Callable[..., Iterator[Batch]]
    trial: Callable[[np.ndarray, int], Batch]
    sample: Callable[..., str]


def _gpt_batches(tokens: Tokens, tokenizer: Tokenizer, **sizes) -> Batches:
    return Batches(tokens, **sizes)


def _gpt_windows(tokens: Tokens, tokenizer: Tokenizer, **sizes) -> Iterator[Batch]:
    return windows(tokens, **sizes)


def _gpt_trial(ids: np.ndarray, vocab_size: int) -> Batch:
    return ids[:, :-1], ids[:, 1:]


def _gpt_sample(
    model: GPT, tokenizer: Tokenizer, ids: np.ndarray, rng: np.random.Generator, tokens: int
) -> str:
    """What the model writes after the first words of the held-out text."""
    prompt = tokenizer.decode(ids[:16].tolist())
    config = dataclasses.replace(SAMPLING, max_new_tokens=tokens)
    return prompt + "".join(complete(model, tokenizer, prompt, config, rng=rng))


def masking_of(tokenizer: Tokenizer) -> Masking:
    """How the tokens of this tokenizer are hidden; InputError for one without [MASK]."""
    special = tokenizer.special_tokens
    if MASK not in special:
        raise InputError(
            f"the tokenizer has no {MASK}, which a BERT needs; let one be trained (--set "
            "tokenizer=bpe or characters), or name a file that has it"
        )
    ends = wrap(tokenizer, [])
    before = len(tokenizer.contents.wordpiece.before) if ends else 0
    return Masking(
        special[MASK],
        tokenizer.vocab_size,
        frozenset(special.values()),
        tuple(ends[:before]),
        tuple(ends[before:]),
    )


def _inside(masking: Masking, context: int) -> int:
    """The tokens of text in a context; InputError where none has room."""
    if (inside := context - len(masking.before) - len(masking.after)) < 1:
        raise InputError(
            f"max_position_embeddings {context} leaves no room for text between the tokens around "
            f"it; it must be at least {context - inside + 1}"
        )
    return inside


def _bert_batches(
    tokens: Tokens, tokenizer: Tokenizer, *, context: int, **rest
) -> MaskedBatches:
    masking = masking_of(tokenizer)
    return MaskedBatches(Batches(tokens, context=_inside(masking, context), **rest), masking)


def _bert_windows(
    tokens: Tokens, tokenizer: Tokenizer, *, context: int, **rest
) -> Iterator[Batch]:
    masking = masking_of(tokenizer)
    return masked_windows(windows(tokens, context=_inside(masking, context), **rest), masking)


def _bert_trial(ids: np.ndarray, vocab_size: int) -> Batch:
    return Masking(0, vocab_size).hide(ids[:, :-1], np.random.default_rng(0))


def _bert_sample(
    model: BertForMaskedLM,
    tokenizer: Tokenizer,
    ids: np.ndarray,
    rng: np.random.Generator,
    tokens: int,
) -> str:
    """The first words of the held-out text, [in brackets] what the model puts at hidden places, and
    what stood there where that was another.
    """
    masking = masking_of(tokenizer)
    size = min(tokens, _inside(masking, model.config.n_positions))
    inputs, targets = masking.hide_all(ids[None, :size], rng)
    with evaluating(model):
        guesses = model(inputs).data[0].argmax(-1)
    shown = []
    for token, guess, truth in zip(inputs[0].tolist(), guesses.tolist(), targets[0].tolist()):
        if truth == IGNORE:
            shown.append(tokenizer.decode([token]))
        else:
            miss = "" if guess == truth else f", not{tokenizer.decode([truth])!r}"
            shown.append(f"[{tokenizer.decode([guess])}{miss}]")
    return ("" if tokenizer.kind != "wordpiece" else " ").join(shown)


KINDS = {
    "gpt": Kind(GPT, next_token, (), _gpt_batches, _gpt_windows, _gpt_trial, _gpt_sample),
    "bert": Kind(
        BertForMaskedLM,
        masked_token,
        (PAD, MASK),
        _bert_batches,
        _bert_windows,
        _bert_trial,
        _bert_sample,
    ),
}

"""What an encoder says of texts: a vector for each, or the words that stood at hidden places.

The vector is the mean of a text's states, or the first of them, of length 1: Reimers and Gurevych
2019, arXiv 1908.10084.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.decoder import check_vocabulary, evaluating
from tinygrad_llm.inference.sentence_config import SentenceConfig
from tinygrad_llm.models.bert import Bert, BertForMaskedLM, mean_pooled
from tinygrad_llm.text import Tokenizer, WordPieceTokenizer

MASK = "[MASK]"
BATCH = 32  # texts


class Guess(NamedTuple):
    """A word for a hidden place, and its probability."""

    word: str
    probability: float


def wrap(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """[CLS] ids [SEP] where the tokenizer has them; a vocabulary of byte pairs has none."""
    return tokenizer.wrap(ids) if isinstance(tokenizer, WordPieceTokenizer) else list(ids)


def text_vectors(
    model: Bert,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    config: SentenceConfig = SentenceConfig(),
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[np.ndarray, list[int]]:
    """(vectors (N, D) of length 1, the numbers of the texts of which only the beginning counts).

    A text longer than `longest_text` is cut. progress is told of texts that are done.
    """
    context = longest_text(model, config) - len(wrap(tokenizer, []))
    ids = [tokenizer.encode(text.lower() if config.do_lower_case else text) for text in texts]
    for text, tokens in zip(texts, ids, strict=True):
        if not tokens:
            raise InputError(f"the text {text!r:.40} has no token, so it has no vector")
        check_vocabulary(model, wrap(tokenizer, tokens), f"the text {text!r:.40}")
    cut = [i for i, tokens in enumerate(ids) if len(tokens) > context]
    rows = [wrap(tokenizer, tokens[:context]) for tokens in ids]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # little padding in a batch
    vectors = np.empty((len(rows), model.config.hidden_size), np.float32)
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        vectors[some] = _batch_vectors(model, [rows[i] for i in some], config.pooling)
        progress(len(some))
    return vectors, cut


def longest_text(model: Bert, config: SentenceConfig) -> int:
    """How many tokens of a text count, those that frame it among them."""
    context = model.config.max_position_embeddings
    return min(context, config.max_seq_length or context)


def _batch_vectors(model: Bert, rows: list[list[int]], pooling: str) -> np.ndarray:
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]  # (B, T)
    ids = np.zeros(mask.shape, int)  # behind a text any id will do: the mask hides it
    ids[mask] = np.concatenate(rows)
    with evaluating(model):
        states = model.hidden(ids, attention_mask=mask)
        vectors = (mean_pooled(states, mask) if pooling == "mean" else states[:, 0]).data
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def fill_masks(
    model: BertForMaskedLM, tokenizer: Tokenizer, text: str, *, best: int = 5
) -> list[list[Guess]]:
    """For each [MASK] in the text, its best words, the most probable first."""
    mask_id = tokenizer.special_tokens.get(MASK)
    if mask_id is None:
        raise InputError(f"the tokenizer has no {MASK}, so its model was not trained to fill one")
    if best < 1:
        raise InputError(f"{best} words are asked for; ask for 1 or more")
    ids = np.array([wrap(tokenizer, tokenizer.encode(text, {MASK}))])
    check_vocabulary(model, ids[0], "the text")
    places = np.flatnonzero(ids[0] == mask_id)
    if not len(places):
        raise InputError(f"the text has no {MASK}; put one where a word is to be filled in")
    with evaluating(model):
        hidden = model.hidden(ids)[0]
        p = F.softmax(model.head(F.embedding(places, hidden))).data  # (masks, V)
    p = p[:, : tokenizer.vocab_size]  # behind them a model may have rows that stand for no word
    top = np.argsort(-p, axis=-1, kind="stable")[:, :best]
    return [
        [Guess(tokenizer.decode([i]), float(row[i])) for i in some]
        for row, some in zip(p, top.tolist(), strict=True)
    ]

"""A trained model beside simpler models of text: what gzip, a bigram and a trigram make of the same
held-out part.
"""

from __future__ import annotations

from tinygrad_llm.data.baselines import gzip_bits_per_byte, ngram_bits_per_byte
from tinygrad_llm.recipes.pretrain import Pretraining

MOST_TOKENS = 20_000_000  # counting n-grams of more would take longer than it is worth


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

"""Score a trained model on any text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tinygrad_llm.data.batches import Batch, windows
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.recipes.corpus import corpus_texts
from tinygrad_llm.recipes.models import load_decoder
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.text import chunks, load_tokenizer, token_lengths
from tinygrad_llm.training.evaluation import BATCH_TOKENS, Score, evaluate
from tinygrad_llm.training.objectives import next_token

LONGEST = 1024  # tokens of a window: the logits of a longer one take more memory than the model


def evaluate_folder(
    folder: str | Path,
    paths: Sequence[str],
    *,
    batch_tokens: int = BATCH_TOKENS,
    reporter: Reporter | None = None,
) -> Score:
    """The model in `folder` on the text of the paths: every token after the first is predicted
    once, from those before it in a window of the context, or of LONGEST if that is shorter.
    """
    model, tokenizer = load_decoder(folder), load_tokenizer(folder)
    ids = np.concatenate([tokenizer.encode(text) for text in chunks(corpus_texts(paths))])
    context = min(model.config.n_positions, LONGEST)
    batches = windows(
        Tokens.from_array(ids),
        context=context,
        batch_size=max(1, batch_tokens // context),
    )
    with (reporter or Reporter()).progress("scoring", len(ids) - 1, "token") as advance:
        return evaluate(model, next_token, _told(batches, advance), token_lengths(tokenizer))


def _told(batches: Iterable[Batch], advance: Callable[[int], object]) -> Iterator[Batch]:
    for inputs, targets in batches:
        yield inputs, targets
        advance(targets.size)

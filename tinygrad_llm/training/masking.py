"""The masked language model: some tokens are hidden, and the model says which they were.

Devlin et al. 2019, arXiv 1810.04805, section 3.1 and appendix A.1.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Module
from tinygrad_llm.training.objectives import IGNORE, Loss


def mask_tokens(
    ids: np.ndarray,
    rng: np.random.Generator,
    *,
    mask_id: int,
    vocab_size: int,
    special_ids: Collection[int] = (),
    probability: float = 0.15,
) -> tuple[np.ndarray, np.ndarray]:
    """ids (B, T) -> (what the model reads, targets), both (B, T); a target of -100 does not count.

    Each token is chosen with this probability, special_ids (padding among them) never. Of the
    chosen, 80% are read as mask_id, 10% as any token of the vocabulary, 10% as they are: no [MASK]
    comes in later use, so the model must not trust the other tokens blindly.
    """
    if not 0 < probability <= 1:
        raise InputError(f"masking probability {probability} is not in (0, 1]")
    ordinary = ~np.isin(ids, list(special_ids))
    chosen = ordinary & (rng.random(ids.shape) < probability)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    drawn = rng.integers(vocab_size, size=ids.shape)
    inputs = np.where(chosen & (fate >= 0.9), drawn, inputs)
    return inputs, np.where(chosen, ids, IGNORE)


def masked_token(
    model: Module,
    inputs: np.ndarray,
    targets: np.ndarray,
    attention_mask: np.ndarray | None = None,
    token_type_ids: np.ndarray | None = None,
) -> Loss:
    """-log p of the tokens at the chosen places, given all that can be read; all shapes (B, T).

    Scores are made at the chosen places alone: they are a seventh of the places, and the layer of
    the vocabulary is the widest.
    """
    hidden = model.hidden(inputs, attention_mask=attention_mask, token_type_ids=token_type_ids)
    places = np.flatnonzero(targets != IGNORE)
    rows = hidden.reshape(-1, hidden.shape[-1])  # (B, T, D) -> (B T, D)
    logits = model.head(F.embedding(places, rows))  # (chosen, V); embedding gathers rows
    total = F.cross_entropy(logits, targets.reshape(-1)[places], reduction="sum")
    return Loss(total, len(places))

"""The masked language model: some tokens are hidden, and the model says which they were.

Devlin et al. 2019, arXiv 1810.04805, section 3.1 and appendix A.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Module
from tinygrad_llm.training.objectives import IGNORE, Loss

CHOSEN = 0.15  # of the tokens


def mask_tokens(
    ids: np.ndarray,
    rng: np.random.Generator,
    *,
    mask_id: int,
    vocab_size: int,
    special_ids: Collection[int] = (),
    probability: float = CHOSEN,
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


class Masking(NamedTuple):
    """What hiding tokens has to know of a vocabulary; before and after: what is put around ids."""

    mask_id: int
    vocab_size: int
    special_ids: Collection[int] = ()
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def hide(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """ids (B, T) -> (inputs, targets) of mask_tokens, with what is put around them."""
        inputs, targets = mask_tokens(
            ids,
            rng,
            mask_id=self.mask_id,
            vocab_size=self.vocab_size,
            special_ids=self.special_ids,
        )
        return self._around(inputs), self._around(targets, IGNORE)

    def hide_all(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The same, but every chosen token is read as mask_id, as it is in later use."""
        inputs, targets = self.hide(ids, rng)
        return np.where(targets != IGNORE, self.mask_id, inputs), targets

    def _around(self, ids: np.ndarray, value: int | None = None) -> np.ndarray:
        ends = [np.tile(x if value is None else [value] * len(x), (len(ids), 1)) for x in self[3:]]
        return np.concatenate([ends[0], ids, ends[1]], axis=1).astype(np.int64)


class MaskedBatches:
    """Batches as the masked language model reads them, hidden anew each time a text comes again.

    batches: an iterator of (ids, anything), with a state_dict of whole numbers. What is hidden
    follows from that state alone, so this iterator goes on bit for bit from the same state.
    """

    def __init__(self, batches: Any, masking: Masking):
        self.batches, self.masking = batches, masking

    @property
    def tokens(self) -> Any:
        """What the batches are cut from."""
        return self.batches.tokens

    def __iter__(self) -> MaskedBatches:
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(list(self.batches.state_dict().values()))
        return self.masking.hide(next(self.batches)[0], rng)

    def state_dict(self) -> dict[str, int]:
        """Where the iterator is."""
        return self.batches.state_dict()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a `state_dict`."""
        self.batches.load_state_dict(state)


def masked_windows(
    windows: Iterable[tuple[np.ndarray, np.ndarray]], masking: Masking
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The ids of all windows with the same places hidden in every call, to evaluate on."""
    rng = np.random.default_rng(0)
    for ids, _ in windows:
        yield masking.hide_all(ids, rng)

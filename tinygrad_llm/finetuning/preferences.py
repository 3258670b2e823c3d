"""DPO: of two answers the model learns to prefer the chosen one, measured from where it began.

Rafailov et al. 2023, arXiv 2305.18290, equation 7. The reference is the model before training; what
it thinks of each answer never changes and is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.instructions import Encoded, Record, pad
from tinygrad_llm.nn import Module
from tinygrad_llm.tensor import Tensor, no_grad
from tinygrad_llm.training.objectives import IGNORE, Loss

FIELDS = ("instruction", "input", "chosen", "rejected")


def that_differ(records: Sequence[Record]) -> list[Record]:
    """Those whose two answers differ: the gradient of others is rounding, which AdamW makes a step
    of. InputError where none do.
    """
    kept = [record for record in records if record["chosen"] != record["rejected"]]
    if not kept:
        raise InputError(
            f"in all {len(records)} examples of a part chosen and rejected are the same answer; "
            "give examples whose answers differ"
        )
    return kept


class Pair(NamedTuple):
    """Two answers to one prompt."""

    chosen: Encoded
    rejected: Encoded


def pad_pairs(pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets (P, 2, T) of P pairs, the chosen answer first; -100 where none is due."""
    inputs, targets = pad([example for pair in pairs for example in pair])
    return inputs.reshape(len(pairs), 2, -1), targets.reshape(len(pairs), 2, -1)


def log_probabilities(model: Module, inputs: np.ndarray, targets: np.ndarray) -> Tensor:
    """The log of each row's probability, the sum over its tokens that count; (..., T) -> (...)."""
    width = inputs.shape[-1]
    rows, states = targets.reshape(-1, width), model.hidden(inputs.reshape(-1, width))
    losses = [
        F.linear_cross_entropy(
            states[i][row != IGNORE], model.lm_head.weight, row[row != IGNORE], reduction="sum"
        )
        for i, row in enumerate(rows)
    ]
    return -F.stack(losses).reshape(targets.shape[:-1])


def rewards(policy: Tensor, reference: np.ndarray, beta: float) -> Tensor:
    """beta log(p / p_reference) of each answer; the loss is made of their differences."""
    return (policy - reference) * beta


def dpo_loss(policy: Tensor, reference: np.ndarray, beta: float) -> Tensor:
    """The sum over pairs of -log sigmoid(reward of the chosen - reward of the rejected).

    policy, reference (P, 2): log probabilities. It is the cross-entropy of a choice between the two
    rewards, since -log sigmoid(a - b) = -log(e^a / (e^a + e^b)).
    """
    chosen = np.zeros(len(reference), np.int64)
    return F.cross_entropy(rewards(policy, reference, beta), chosen, reduction="sum")


def preference_loss(beta: float) -> Callable[..., Loss]:
    """The objective of batches (inputs, reference, targets); what counts is pairs.

    Dropout is off: with it the policy would differ from the reference by chance, and the loss would
    not start at log 2.
    """

    def objective(
        model: Module, inputs: np.ndarray, reference: np.ndarray, targets: np.ndarray
    ) -> Loss:
        policy = log_probabilities(model.eval(), inputs, targets)
        return Loss(dpo_loss(policy, reference, beta), len(targets))

    return objective


def reference_of(model: Module, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The log probabilities (P, 2) of all pairs in order, from the model as it is, dropout off."""
    was_training, found = model.training, []
    model.eval()
    with no_grad():
        found = [log_probabilities(model, *batch).data for batch in batches]
    model.train(was_training)
    return np.concatenate(found)


@dataclass(frozen=True)
class PreferenceScore:
    """Means over pairs. loss: DPO's, log 2 where nothing is learned. margin: the chosen answer's
    reward less the rejected one's. accuracy: the share of pairs whose margin is above 0.
    """

    loss: float
    margin: float
    accuracy: float

    @property
    def rank(self) -> tuple[float, ...]:
        """What the best weights of a run are chosen by."""
        return (self.loss,)

    def row(self) -> dict[str, float]:
        """The figures as a run's journal holds them."""
        return {
            "validation_loss": self.loss,
            "reward_margin": self.margin,
            "reward_accuracy": self.accuracy,
        }

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.4f}, reward margin {self.margin:+.3f}, "
            f"{self.accuracy:.1%} of the pairs in order"
        )


def score_preferences(
    model: Module,
    batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    beta: float,
) -> PreferenceScore:
    """The model on held-out batches (inputs, reference, targets)."""
    total, margins = 0.0, []
    was_training = model.training
    model.eval()
    with no_grad():
        for inputs, reference, targets in batches:
            policy = log_probabilities(model, inputs, targets)
            total += dpo_loss(policy, reference, beta).item()
            chosen, rejected = rewards(policy, reference, beta).data.T
            margins.append(chosen - rejected)
    model.train(was_training)
    margin = np.concatenate(margins)
    return PreferenceScore(total / len(margin), float(margin.mean()), float((margin > 0).mean()))

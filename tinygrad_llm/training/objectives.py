"""What a model is trained for: a function of (model, *inputs, targets) that returns the summed loss
and its count.

The sum, not the mean: parts of a batch can then be added with each token weighing the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.nn import Module
from tinygrad_llm.tensor import Tensor

IGNORE = -100


class Loss(NamedTuple):
    """total: the sum of -log p(target) over the tokens that count, in nats. tokens: how many
    count.
    """

    total: Tensor
    tokens: int


def next_token(model: Module, inputs: np.ndarray, targets: np.ndarray) -> Loss:
    """The label of each token is the one after it; inputs and targets (B, T), targets of -100 do
    not count.

    The same as F.cross_entropy of model(inputs), without all logits in memory at once, and without
    those of tokens that do not count.
    """
    states, weight = model.hidden(inputs), model.lm_head.weight
    if not (counts := targets != IGNORE).all():
        states, targets = states[counts], targets[counts]
    total = F.linear_cross_entropy(states, weight, targets, ignore_index=IGNORE, reduction="sum")
    return Loss(total, int(np.count_nonzero(counts)))


def next_target_token(
    model: Module,
    source: np.ndarray,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    label_smoothing: float = 0.0,
) -> Loss:
    """The same for a text (B, T) that is written while another one, source (B, S), is read.

    label_smoothing: how F.cross_entropy spreads a part of each label over the vocabulary.
    """
    total = F.linear_cross_entropy(
        model.hidden(source, inputs),
        model.shared.weight,
        targets,
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return Loss(total, int(np.count_nonzero(targets != IGNORE)))

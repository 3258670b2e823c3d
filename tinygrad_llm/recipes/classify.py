"""Label texts with the classifier of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.classifier import encode_texts, predict
from tinygrad_llm.formats.classifier import load_classifier
from tinygrad_llm.text import load_tokenizer


class Labels(NamedTuple):
    """labels: in the order of the columns. probabilities: (N, C), a row for each text."""

    labels: tuple[str, ...]
    probabilities: np.ndarray

    def best(self) -> list[str]:
        """The most probable label of each text."""
        return [self.labels[i] for i in self.probabilities.argmax(1)]


def classify(folder: str | Path, texts: Sequence[str]) -> Labels:
    """The probability of each label for each text; InputError for a text without a word in it."""
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise InputError(f"text {number} is empty; a label needs something to read")
    model, most = load_classifier(folder)
    rows = encode_texts(load_tokenizer(folder), [text.strip() for text in texts], most)
    return Labels(model.labels, predict(model, rows))

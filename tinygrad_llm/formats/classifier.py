"""A Classifier as transformers' ...ForSequenceClassification: the folder of its trunk, whose
weights hold the new head too and whose config.json names the labels.

A BERT pooled by the mean is one that transformers does not have: it misses a pooler there, and says
so. Two keys of ours, which transformers ignores, stand beside its own: pooling and max_tokens.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.formats.family import Family, check_implemented
from tinygrad_llm.formats.folder import CONFIG, family_of, read_config, refuse_pickle
from tinygrad_llm.formats.sharded import open_weights, save_weights
from tinygrad_llm.formats.weights import Weights, as_float32, load_weights, to_tensors
from tinygrad_llm.models.classifier import Classifier

ARCHITECTURES = {
    "gpt2": "GPT2ForSequenceClassification",
    "llama": "LlamaForSequenceClassification",
    "bert": "BertForSequenceClassification",
}
HEADS = {"gpt2": "score", "llama": "score", "bert": "classifier"}  # names of the head there
OLD_HEAD = "lm_head.weight"
PROBLEM = "single_label_classification"  # transformers also has regression, and labels side by side


def save_classifier(
    folder: str | Path, model: Classifier, *, max_tokens: int, pad_id: int | None = None
) -> None:
    """Write config.json and model.safetensors.

    max_tokens: how much of a text counts. pad_id: a token that no text holds, with which
    transformers may pad; without one it reads a text at a time.
    """
    folder, family = Path(folder), _headless(family_of(model.trunk))
    folder.mkdir(parents=True, exist_ok=True)
    tensors, head = to_tensors(family, model.trunk), HEADS[family.model_type]
    tensors |= {f"{head}.{name}": array for name, array in model.score.state_dict().items()}
    save_weights(folder, tensors)
    document = {
        "architectures": [ARCHITECTURES[family.model_type]],
        "model_type": family.model_type,
        **family.to_config(model.trunk.config),
        "problem_type": PROBLEM,
        "id2label": {str(i): label for i, label in enumerate(model.labels)},
        "label2id": {label: i for i, label in enumerate(model.labels)},
        "pad_token_id": pad_id,
        "pooling": model.pooling,
        "max_tokens": max_tokens,
    }
    write_atomic(folder / CONFIG, json.dumps(document, indent=2) + "\n")


def load_classifier(
    folder: str | Path, *, rng: np.random.Generator | None = None
) -> tuple[Classifier, int]:
    """The classifier in a folder that we or transformers saved, in evaluation mode, and max_tokens.

    InputError for a folder that is missing or damaged, or holds a model without such a head.
    """
    folder = Path(folder)
    family, config, scheme = read_config(folder / CONFIG)
    if scheme is not None:
        raise InputError(f"{folder} holds quantized weights; a classifier is read as floats")
    document = read_json_object(folder / CONFIG)
    head = HEADS.get(family.model_type)
    refuse_pickle(folder)
    with open_weights(folder) as weights:
        if head is None or f"{head}.weight" not in weights.entries:
            raise InputError(
                f"{folder} holds a model without a head that scores labels; make one: "
                f"tinygrad-llm finetune classify {folder} --data FILE"
            )
        try:
            trunk = load_weights(_headless(family), config, _Trunk(weights, head), rng)
            model = _with_head(trunk, document, head, weights, rng or np.random.default_rng(0))
            most = document.get("max_tokens", model.context)
            if type(most) is not int or not 1 <= most <= model.context:
                raise InputError(f"max_tokens is {most!r:.40}, not from 1 to {model.context}")
        except InputError as error:
            raise InputError(f"{weights.path} and {CONFIG} do not fit: {error}") from None
    return model, most


def _headless(family: Family) -> Family:
    """The same kind of model without the layer that predicts tokens."""

    def slots(config: Any):
        return (slot for slot in family.slots(config) if slot.name != OLD_HEAD)

    return dataclasses.replace(family, slots=slots)


class _Trunk:
    """Open weights without the head's."""

    def __init__(self, weights: Weights, head: str):
        entries = weights.entries.items()
        self.entries = {name: e for name, e in entries if not name.startswith(f"{head}.")}
        self.read = weights.read


def _with_head(
    trunk: Any,
    document: Mapping[str, Any],
    head: str,
    weights: Weights,
    rng: np.random.Generator,
) -> Classifier:
    shape = weights.entries[f"{head}.weight"].shape
    check_implemented(document, {"problem_type": (PROBLEM, None)})
    if len(shape) != 2 or shape[0] < 2:
        raise InputError(f"{head}.weight has shape {shape}: it scores no choice of labels")
    pooling = document.get("pooling", "cls" if head == HEADS["bert"] else "last")
    if pooling == "cls" and trunk.pooler is None:
        raise InputError("the tensor 'pooler.dense.weight' is missing")
    labels = _labels(document, shape[0])
    model = Classifier(trunk, labels, pooling=pooling, rng=rng)
    for name, parameter in model.score.named_parameters():
        name = f"{head}.{name}"
        if name not in weights.entries:
            raise InputError(f"the tensor {name!r} is missing")
        array = as_float32(weights.read(name), name)
        if array.shape != parameter.shape:
            raise InputError(f"{name} has the shape {array.shape}, but {parameter.shape} is needed")
        parameter.copy_(array)
    return model.eval()


def _labels(document: Mapping[str, Any], count: int) -> list[str]:
    """The labels in order; transformers leaves out those that it would call LABEL_0, LABEL_1."""
    names = document.get("id2label", {str(i): f"LABEL_{i}" for i in range(count)})
    numbers = [str(i) for i in range(count)]
    if not isinstance(names, dict) or sorted(names) != sorted(numbers):
        raise InputError(f"id2label is {names!r:.80}, but the head scores {count} labels")
    labels = [names[number] for number in numbers]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != count:
        raise InputError(f"id2label is {names!r:.80}; each label is a text of its own")
    return labels

"""Adapters as PEFT keeps them: adapter_config.json and adapter_model.safetensors.

PEFT opens what is written here, and what PEFT wrote is read; what would be computed differently is
refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.finetuning.lora import Adapter, LoRALinear, add_lora, lora_layers, remove_lora
from tinygrad_llm.formats.folder import family_of
from tinygrad_llm.formats.weights import as_float32
from tinygrad_llm.nn import Module
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.tensor_files import load_tensors, save_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # PEFT's wrapper around transformers' model
BARE = ("BertModel",)  # transformers' classes whose tensors have no prefix of the family
CAUSAL = ("GPT2LMHeadModel", "LlamaForCausalLM")
READ = ("peft_type", "r", "lora_alpha", "lora_dropout", "target_modules")
WITHOUT_EFFECT = (  # keys that say nothing about what is computed, or repeat what the base says
    "auto_mapping",
    "base_model_name_or_path",
    "fan_in_fan_out",
    "inference_mode",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
)
MOST = 10**9  # of the rank and its like
INITIAL = (None, True, False, "gaussian")  # ways to start that leave the base's weights alone


def save_adapter(folder: str | Path, model: Module, *, base: str | None = None) -> None:
    """Write the model's adapters, each file in one step. base: the name or folder of the model
    without them, which PEFT and readers look for.
    """
    layers = [layer for _, layer in lora_layers(model)]
    if not layers:
        raise InputError("the model has no adapters; add_lora gives it some")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for adapter in (adapter for layer in layers for adapter in layer.adapters):
        for part in ("lora_A", "lora_B"):
            tensors[_key(model, adapter, part)] = getattr(adapter, part).data
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    write_atomic(folder / CONFIG, json.dumps(_document(model, layers, base), indent=2) + "\n")


def _document(model: Module, layers: list[LoRALinear], base: str | None) -> dict[str, Any]:
    family = family_of(model)
    rank = len(layers[0].adapters[0].lora_A)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if family.architectures[type(model)] in CAUSAL else None,
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": layers[0].scale * rank,
        "lora_dropout": layers[0].dropout,
        "target_modules": _targets(model, layers),
        "fan_in_fan_out": family.model_type == "gpt2",  # whose layers are (in, out)
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }


def _targets(model: Module, layers: list[LoRALinear]) -> list[str]:
    """The last parts of the names, where those mean no other layer; else the names in full."""
    names = {adapter.name for layer in layers for adapter in layer.adapters}
    ends = {name.rpartition(".")[2] for name in names}
    every = (slot.name for slot in family_of(model).slots(model.config))
    meant = {
        name.removesuffix(".weight")
        for name in every
        if name.endswith(".weight") and name.removesuffix(".weight").rpartition(".")[2] in ends
    }
    return sorted(ends if meant == names else names)


def _key(model: Module, adapter: Adapter, part: str) -> str:
    family = family_of(model)
    bare = family.architectures[type(model)] in BARE or adapter.name.startswith(family.unprefixed)
    return f"{PREFIX}{'' if bare else family.prefix}{adapter.name}.{part}.weight"


def load_adapter(
    folder: str | Path, model: Module, *, rng: np.random.Generator | None = None
) -> list[Tensor]:
    """Give a model without adapters those of the folder; returns their parameters.

    rng: what their dropout draws from in training. InputError for files that are damaged, that fit
    another model, or that ask for what is not implemented; the model then has no adapters.
    """
    folder = Path(folder)
    settings = _read_config(folder / CONFIG)
    tensors, _ = load_tensors(folder / WEIGHTS)
    largest = max((size for array in tensors.values() for size in array.shape), default=0)
    if settings["rank"] > largest:  # before memory is taken for it
        raise InputError(
            f"{folder / CONFIG}: r is {settings['rank']}, but no tensor of {WEIGHTS} is so large"
        )
    parameters = add_lora(model, **settings, rng=rng or np.random.default_rng(0))
    try:
        _fill(model, tensors)
    except InputError as error:
        remove_lora(model)
        raise InputError(f"{folder / WEIGHTS}: {error}") from None
    return parameters


def _fill(model: Module, tensors: Mapping[str, np.ndarray]) -> None:
    """Give the tensors to the adapters; every one must have its place, and every place one."""
    family, places = family_of(model), {}
    for _, layer in lora_layers(model):
        for adapter in layer.adapters:
            for part in ("lora_A", "lora_B"):
                places[f"{adapter.name}.{part}.weight"] = getattr(adapter, part)
    found = {family.short_name(name.removeprefix(PREFIX)): name for name in tensors}
    if odd := min(found.keys() ^ places.keys(), default=None):
        there = "has no place in this model" if odd in found else "is missing"
        raise InputError(f"the adapter's tensor {found.get(odd, odd)!r:.120} {there}")
    for short, place in places.items():
        array = tensors[found[short]]
        if array.shape != place.shape or array.dtype.kind != "f":
            raise InputError(
                f"{found[short]} is {array.dtype} {array.shape}, but here float {place.shape}"
            )
        place.copy_(as_float32(array, found[short]))


def _read_config(path: Path) -> dict[str, Any]:
    """The settings of add_lora; InputError with the key that asks for something else."""
    document = read_json_object(path)
    if document.get("peft_type") != "LORA":
        raise InputError(f"{path}: peft_type is {document.get('peft_type')!r:.40}; LORA is read")
    for key, value in document.items():
        harmless = value in (None, False, [], {}) or key in (*READ, *WITHOUT_EFFECT)
        if key == "bias":
            harmless = value == "none"
        elif key == "init_lora_weights":
            harmless = value in INITIAL
        if not harmless:
            raise InputError(f"{path}: {key} is {value!r:.60}, which is not implemented")
    targets = document.get("target_modules")
    if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
        raise InputError(
            f"{path}: target_modules is {targets!r:.60}; a list of layers' names is read, such as "
            '["q_proj", "v_proj"]'
        )
    return {"targets": targets, **_numbers(document, path)}


def _numbers(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    kinds = {"r": (int,), "lora_alpha": (int, float), "lora_dropout": (int, float)}
    for key, kind in kinds.items():
        value = document.get(key)
        if type(value) not in kind or not abs(value) <= MOST:
            raise InputError(f"{path}: {key} is {value!r:.40}; a number up to {MOST:,} is needed")
    return {
        "rank": document["r"],
        "alpha": float(document["lora_alpha"]),
        "dropout": float(document["lora_dropout"]),
    }

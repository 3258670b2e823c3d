"""A file's tensors into a model and back: float32, each read once, nothing built before all fit."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tinygrad_llm.blocks import is_blocks, widened
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.family import Family, Shape, Slot
from tinygrad_llm.nn import Module
from tinygrad_llm.nn.quantized import named_blocks, put_blocks
from tinygrad_llm.progress import Progress


class Entry(Protocol):
    """What the header of a file says of a tensor."""

    shape: Shape


class Weights(Protocol):
    """An open file or several: what is there by name, and the array of each, of numbers or of
    blocks (blocks.py), which the model then computes with as they are.
    """

    entries: Mapping[str, Entry]

    def read(self, name: str) -> np.ndarray: ...


def load_weights(
    family: Family,
    config: Any,
    weights: Weights,
    rng: np.random.Generator | None = None,
    *,
    progress: Progress | None = None,
) -> Module:
    """The model of this configuration with these weights, in evaluation mode.

    rng: what dropout draws from if the model is trained further. progress is told of tensors that
    were read. InputError where they do not fit, before any memory is taken.
    """
    shapes = {name: entry.shape for name, entry in weights.entries.items()}
    found = family.match(config, shapes, getattr(weights, "in_blocks", ()))
    parts = {slot.part for slot in found.values()}
    model = _unset_model(family, config, parts, rng or np.random.default_rng(0))
    _fill(model, weights, found, progress)
    return model.eval()


def to_tensors(family: Family, model: Module) -> dict[str, np.ndarray]:
    """The model's arrays, of numbers or blocks, under transformers' names; tied ones once, and a
    bias that it lacks but transformers' model has as zeros.
    """
    arrays, tensors = model.state_dict() | dict(named_blocks(model)), {}
    for slot in family.slots(model.config):
        array = arrays.get(slot.parameter)
        if array is not None and slot.in_model:
            if slot.first is not None:
                array = array[slot.first : slot.first + slot.shape[0]]
            turned = slot.transposed and not is_blocks(array)
            tensors[family.full_name(slot)] = array.T if turned else array
        elif array is None and slot.in_model and not slot.part:
            raise InputError(f"{slot.parameter} is hidden by an adapter; merge and remove it first")
        elif array is None and not slot.part:
            tensors[family.full_name(slot)] = np.zeros(slot.shape, np.float32)
    return tensors


class _NoDraws:
    """In place of a Generator for weights that a file replaces: draws for GPT-2 xl take minutes."""

    def random(self, shape: Shape, dtype: type) -> np.ndarray:
        return np.zeros(shape, dtype)

    standard_normal = random


def _unset_model(family: Family, config: Any, parts: set[str], rng: np.random.Generator) -> Module:
    """A model whose parameters have no values yet, and whose embeddings have no memory."""
    small = dataclasses.replace(config, **dict.fromkeys(family.embeddings, 1))
    model = family.build(small, parts, _NoDraws())
    model.config = config
    for _, module in model.named_modules():
        if hasattr(module, "rng"):
            module.rng = rng
    return model


def _fill(
    model: Module, weights: Weights, found: Mapping[str, Slot], progress: Progress | None
) -> None:
    """Give the file's tensors to the model; those without a place in it must not matter."""
    parameters = dict(model.named_parameters())
    blocks: dict[str, list[np.ndarray]] = {}
    for done, (name, slot) in enumerate(found.items(), 1):
        array, parameter = weights.read(name), parameters.get(slot.parameter)
        if not is_blocks(array):
            array = as_float32(array, name)
            array = array.T if slot.transposed else array
        if not slot.in_model:
            tied_to = None if parameter is None else parameter.data
            _check_spare(array, name, slot, blocks.get(slot.parameter, [tied_to])[0])
        elif is_blocks(array):
            blocks.setdefault(slot.parameter, []).append(array)
        elif slot.first is None:
            parameter.data = np.ascontiguousarray(array)
        else:
            parameter.data[slot.first : slot.first + len(array)] = array
        if progress:
            progress("reading", done, len(found))
    needed = Counter(slot.parameter for slot in found.values() if slot.in_model)
    for path, parts in blocks.items():
        _put_parts(model, path, parts, needed[path])


def _put_parts(model: Module, path: str, parts: list[np.ndarray], needed: int) -> None:
    """Let the parts, one above the other, be a weight, if all that it needs are of one kind."""
    if len(parts) < needed or len({part.dtype for part in parts}) > 1:
        raise InputError(
            f"the tensors that ours holds in {path} are stored in several kinds of numbers, which "
            "are read only as float32: tinygrad-llm import"
        )
    put_blocks(model, path, parts[0] if len(parts) == 1 else np.concatenate(parts))


def _check_spare(array: np.ndarray, name: str, slot: Slot, tied_to: np.ndarray | None) -> None:
    """A tensor without a place of its own: a copy of the one it is tied to, or zeros."""
    if tied_to is None and np.any(widened(array)):
        raise InputError(f"{name} is not zero, but the model here has no such tensor")
    if tied_to is not None and not np.array_equal(array, tied_to):
        raise InputError(
            f"tie_word_embeddings is true, but {name} is not equal to {slot.parameter}"
        )


def as_float32(array: np.ndarray, name: str) -> np.ndarray:
    """The array of this name in float32; InputError where it holds no floats, or larger ones."""
    if array.dtype.kind != "f":
        raise InputError(f"{name} is {array.dtype}, but weights are floating-point numbers")
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return array.astype(np.float32, copy=False)
    except FloatingPointError:
        raise InputError(f"{name} holds numbers too large for float32") from None

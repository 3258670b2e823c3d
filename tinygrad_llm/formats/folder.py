"""A model as a Hugging Face folder, config.json and model.safetensors: transformers opens it too.

Nothing is built before every shape that config.json promises was found in the file, so a wrong or
hostile folder costs no memory; tensors are then read one at a time. Pickle is never read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.formats.gpt2 import HEAD, Slot, from_config, match, to_config, to_tensors
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.tensor_files import TensorFile, open_tensors, save_tensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"
REFUSED = {
    "model.safetensors.index.json": "is in several files, which are not read; let transformers "
    "join them: save_pretrained(folder, max_shard_size='99GB')",
    "pytorch_model.bin": "is a pickle, which can run code and is never read; let transformers "
    "write it anew: save_pretrained(folder)",
}


def save_model(folder: str | Path, model: GPT) -> None:
    """Write config.json and model.safetensors, each in one step; transformers reads them as GPT-2.

    GPT2LMHeadModel always has biases, so those that the model does not have are stored as zeros.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS, to_tensors(model), {"format": "pt"})
    write_atomic(folder / CONFIG, json.dumps(to_config(model.config), indent=2) + "\n")


def load_model(folder: str | Path, *, rng: np.random.Generator | None = None) -> GPT:
    """The GPT in a folder that we or transformers saved, in evaluation mode, its weights float32.

    rng: what dropout draws from if the model is trained further. InputError for a folder that is
    missing or damaged, or holds a model that GPT would compute differently.
    """
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    with open_tensors(_weights_in(folder)) as tensors:
        try:
            found = match(config, {name: entry.shape for name, entry in tensors.entries.items()})
            model = _unset_model(config, rng or np.random.default_rng(0))
            _fill(model, tensors, found)
        except InputError as error:
            raise InputError(f"{tensors.path} and {CONFIG} do not fit: {error}") from None
    return model.eval()


def _read_config(path: Path) -> GPTConfig:
    document = read_json_object(path)
    try:
        return from_config(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _weights_in(folder: Path) -> Path:
    """The path of the weights; where they are in another format, an error that says what to do."""
    path = folder / WEIGHTS
    for name, reason in REFUSED.items():
        if not path.exists() and (folder / name).exists():
            raise InputError(f"the model in {folder} ({name}) {reason}")
    return path


class _NoDraws:
    """In place of a Generator for weights that a file replaces: draws for GPT-2 xl take minutes."""

    def random(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.zeros(shape, dtype)

    standard_normal = random


def _unset_model(config: GPTConfig, rng: np.random.Generator) -> GPT:
    """A GPT whose parameters have no values yet, and whose embeddings have no memory."""
    model = GPT(dataclasses.replace(config, vocab_size=1, n_positions=1), rng=_NoDraws())
    model.config = config
    for _, module in model.named_modules():
        if hasattr(module, "rng"):
            module.rng = rng
    return model


def _fill(model: GPT, tensors: TensorFile, found: Mapping[str, Slot]) -> None:
    """Give the file's tensors to the model; those without a place in it must not matter."""
    parameters = dict(model.named_parameters())
    for name, slot in found.items():
        array = _as_float32(tensors.read(name), name)
        if slot.in_model:
            array = array.T if slot.transposed else array
            parameters[slot.parameter].data = np.ascontiguousarray(array)
        elif slot.name == HEAD and not np.array_equal(array, model.wte.weight.data):
            raise InputError(f"tie_word_embeddings is true, but {name} is not the token embedding")
        elif slot.name != HEAD and np.any(array):
            raise InputError(f"{name} is not zero, but bias or qkv_bias is false")


def _as_float32(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind != "f":
        raise InputError(f"{name} is {array.dtype}, but weights are floating-point numbers")
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return array.astype(np.float32, copy=False)
    except FloatingPointError:
        raise InputError(f"{name} holds numbers too large for float32") from None

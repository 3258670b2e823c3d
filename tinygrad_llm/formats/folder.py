"""A model as a Hugging Face folder: config.json and model.safetensors. What we save transformers opens, and back.

Nothing is built before the shapes that config.json promises were found in the file, so a wrong or hostile folder
costs no memory. Pickle is never read.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.formats.gpt2 import Slot, canonical_names, from_config, slots, to_config, to_tensors
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.tensor_files import TensorFile, open_tensors, save_tensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OTHER_WEIGHTS = {
    "model.safetensors.index.json": "is in several parts, which are not read yet; join them with transformers: "
                                    "save_pretrained(folder, max_shard_size='100GB')",
    "pytorch_model.bin": "is pickle, which can run code, so it is never read; save the model with transformers: "
                         "save_pretrained(folder, safe_serialization=True)",
}


def save_model(folder: str | Path, model: GPT) -> None:
    """Write config.json and model.safetensors, each in one step; `transformers` reads the folder as GPT-2.

    GPT2LMHeadModel has biases everywhere, so a bias that the model does not have is stored as zeros: equal logits.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS, to_tensors(model), {"format": "pt"})
    write_atomic(folder / CONFIG, json.dumps(to_config(model.config), indent=2) + "\n")


def load_model(folder: str | Path, *, rng: np.random.Generator | None = None) -> GPT:
    """The GPT in a folder that we or transformers saved, in evaluation mode, its weights as float32.

    rng: what dropout draws from when the model is trained further. InputError for a folder that is missing,
    damaged, or holds a model that GPT would compute differently.
    """
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    with open_tensors(_weights_path(folder)) as tensors:
        try:
            names = canonical_names(tensors.entries)
            found = _match(config, tensors, names)
            _check_left_out(config, tensors, names)
            model = GPT(config, rng=rng or np.random.default_rng(0))
            _fill(model, tensors, found)
        except InputError as error:
            raise InputError(f"{tensors.path} does not fit {CONFIG}: {error}") from None
    return model.eval()


def _read_config(path: Path) -> GPTConfig:
    try:
        return from_config(document := read_json_object(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None

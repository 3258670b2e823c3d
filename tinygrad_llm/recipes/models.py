"""The model of a folder, a GGUF file or a known name, if it is one that a recipe can use."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.formats.gguf import open_gguf
from tinygrad_llm.formats.gguf_llama import load_llama
from tinygrad_llm.formats.gguf_tokenizer import tokenizer_contents
from tinygrad_llm.inference.generation_config import GenerationConfig, load_generation_config
from tinygrad_llm.models.bert import Bert, BertForMaskedLM
from tinygrad_llm.models.encoder_decoder import EncoderDecoder
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.models.llama import Llama
from tinygrad_llm.progress import Progress
from tinygrad_llm.recipes.import_ import find_weights, greedy
from tinygrad_llm.text import BPETokenizer, Tokenizer, load_tokenizer


class Opened(NamedTuple):
    """What it takes to let a model write."""

    model: GPT | Llama
    tokenizer: Tokenizer
    config: GenerationConfig


def open_decoder(source: str) -> Opened:
    """The decoder that a folder, a .gguf file or a known name stands for, ready to write."""
    path = find_weights(source)
    if path.is_dir():
        return Opened(load_decoder(path), load_tokenizer(path), load_generation_config(path))
    with open_gguf(path) as file:
        tokenizer = BPETokenizer(tokenizer_contents(file.metadata))
        return Opened(load_llama(file), tokenizer, greedy(file))


def load_decoder(folder: str | Path, *, progress: Progress | None = None) -> GPT | Llama:
    """The model that a folder holds; InputError for one that does not predict the next token."""
    model = load_model(folder, progress=progress)
    if not isinstance(model, (GPT, Llama)):
        raise InputError(
            f"{folder} holds a {type(model).__name__}, which does not predict the next token; "
            "name the folder of a GPT or a Llama"
        )
    return model


def load_translator(folder: str | Path) -> EncoderDecoder:
    """The model that a folder holds; InputError for one that does not translate."""
    model = load_model(folder)
    if not isinstance(model, EncoderDecoder):
        raise InputError(
            f"{folder} holds a {type(model).__name__}, which does not translate; "
            "name the folder of a run of train-translation"
        )
    return model


def open_encoder(source: str) -> tuple[Bert, Tokenizer]:
    """The BERT that a folder or a known name stands for, and its tokenizer."""
    path = find_weights(source)
    model = load_model(path) if path.is_dir() else None
    if not isinstance(model, Bert):
        held = "a GGUF file" if model is None else f"a {type(model).__name__}"
        raise InputError(
            f"{source} is {held}, which does not read a text from both sides; name the folder of "
            "a BERT, or minilm"
        )
    return model, load_tokenizer(path)


def open_masked(source: str) -> tuple[BertForMaskedLM, Tokenizer]:
    """An encoder that says which words are hidden; InputError for one without the head for it."""
    model, tokenizer = open_encoder(source)
    if not isinstance(model, BertForMaskedLM):
        raise InputError(
            f"{source} has no head that predicts hidden words; train a BERT that does: "
            "tinygrad-llm pretrain --preset bert"
        )
    return model, tokenizer

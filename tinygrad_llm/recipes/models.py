"""The model of a folder, if it is one that a recipe can use."""

from __future__ import annotations

from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.models.encoder_decoder import EncoderDecoder
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.models.llama import Llama


def load_decoder(folder: str | Path) -> GPT | Llama:
    """The model that a folder holds; InputError for one that does not predict the next token."""
    model = load_model(folder)
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

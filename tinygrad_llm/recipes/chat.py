"""A conversation with a chat model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.chat import Chat
from tinygrad_llm.recipes.models import open_decoder

REPLY = 512  # tokens, where nobody says otherwise
SYSTEM = {"smollm2": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}


def open_chat(source: str, *, system: str | None = None, seed: int = 0, **settings: Any) -> Chat:
    """A conversation with the model of a folder, a .gguf file or a known name.

    system: what the model is told first; by default what a known model was trained with, else
    nothing. settings: fields of GenerationConfig; those left out come from the model's own.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is below 0; seeds are whole numbers from 0 on")
    model, tokenizer, config = open_decoder(source)
    config = dataclasses.replace(config, **{"max_new_tokens": REPLY, **settings})
    system = SYSTEM.get(source, "") if system is None else system
    return Chat(model, tokenizer, config, system=system, rng=np.random.default_rng(seed))

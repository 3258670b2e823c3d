"""A trained model goes on with a prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.generation_config import load_generation_config
from tinygrad_llm.inference.generate import complete
from tinygrad_llm.recipes.models import load_decoder
from tinygrad_llm.text import load_tokenizer


def continue_prompt(
    folder: str | Path, prompt: str, *, seed: int = 0, **settings: Any
) -> Iterator[str]:
    """The text after the prompt, piece by piece as it is written.

    settings: fields of GenerationConfig; those left out come from the folder's
    generation_config.json.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is below 0; seeds are whole numbers from 0 on")
    config = dataclasses.replace(load_generation_config(folder), **settings)
    model, tokenizer = load_decoder(folder), load_tokenizer(folder)
    return complete(model, tokenizer, prompt, config, rng=np.random.default_rng(seed))

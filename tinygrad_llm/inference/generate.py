"""Continuing texts, token by token: greedy or drawn, alone or in a batch, as ids or as text.

A batch of prompts of different lengths needs no padding: all rows stand at the same position, and
while a row's prompt is longer than that it reads its own next token instead of a chosen one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference import sampling
from tinygrad_llm.inference.beam import beam_search
from tinygrad_llm.inference.config import GenerationConfig
from tinygrad_llm.inference.decoder import Decoder
from tinygrad_llm.inference.stop import until
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.text import Tokenizer

NOTHING = -1  # where a row has no new token: its prompt is still being read, or its text has ended


def generate(model: GPT, prompts: Sequence[Sequence[int]], config: GenerationConfig, *,
             rng: np.random.Generator | None = None, use_cache: bool = True) -> Iterator[np.ndarray]:
    """Each step's new tokens, (B,) with NOTHING where a row has none, until every text has ended.

    A text ends after an id of config.eos_ids, which is its last, or max_new_tokens. Row i draws from
    rng.spawn(B)[i], a single row from rng itself, so each row gets the tokens it would get alone.
    """
    if config.num_beams > 1:
        raise InputError(f"num_beams is {config.num_beams}; beam search gives whole texts: call beam_search")
    if config.temperature > 0 and rng is None:
        raise InputError(f"temperature {config.temperature} draws tokens: give rng, or temperature 0")

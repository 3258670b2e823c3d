"""A trained transformer translates; and a picture of what it reads while it writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.explain.attention import attention_maps, attention_svg
from tinygrad_llm.files import write_atomic
from tinygrad_llm.inference.decoder import evaluating
from tinygrad_llm.inference.translate import SEARCH, translate, translate_texts
from tinygrad_llm.models.encoder_decoder import EncoderDecoder
from tinygrad_llm.recipes.models import load_translator
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.text import Tokenizer, load_tokenizer


def translate_lines(
    folder: str | Path,
    texts: Sequence[str],
    *,
    attention: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> list[str]:
    """The translation of each text by the model in `folder`.

    settings: num_beams and length_penalty. attention: an SVG file to write, for one text alone.
    """
    config = dataclasses.replace(SEARCH, **settings)
    model, tokenizer = load_translator(folder), load_tokenizer(folder)
    if attention is not None:
        there = [text for text in texts if text.strip()]
        if len(there) != 1:
            raise InputError(f"an attention map is of one text, not of {len(there)}: give one")
        write_atomic(Path(attention), cross_attention_svg(model, tokenizer, there[0], config))
    with (reporter or Reporter()).progress("translating", len(texts), "text") as advance:
        return translate_texts(model, tokenizer, texts, config, progress=advance)


def cross_attention_svg(
    model: EncoderDecoder, tokenizer: Tokenizer, text: str, config: Any = SEARCH
) -> str:
    """What each token of the translation reads of the source, for every head of the last layer."""
    own = model.config
    source = [*tokenizer.encode(text.strip()), own.eos_token_id]
    target = translate(model, [source], config)[0].ids
    read = [own.decoder_start_token_id, *target[:-1]]
    with evaluating(model):
        maps = attention_maps(lambda: model.hidden(np.array([source]), np.array([read])))
    # a decoder layer attends to its target, then to the memory: the last map is of the latter
    keys, queries = ([tokenizer.decode([i]) for i in ids] for ids in (source, target))
    title = "rows: the translation; columns: what it reads, in the last layer"
    return attention_svg(maps[-1][0], keys, queries, title)

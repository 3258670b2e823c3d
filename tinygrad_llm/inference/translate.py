"""Translating with an encoder-decoder: the source is read once, the target is searched.

Sources of about equal length are translated together, each as it would be alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.beam import Hypothesis, greedy_search, search, search_all, wu
from tinygrad_llm.inference.cache import LayerCache
from tinygrad_llm.inference.decoder import check_vocabulary, checked_scores, evaluating
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.models.encoder_decoder import EncoderDecoder
from tinygrad_llm.text import Tokenizer

ROWS = 256  # texts that are written at a time, over all beams
BEYOND = 50  # a target may have so many tokens more than its source: Vaswani et al., section 6.1
SEARCH = GenerationConfig(temperature=0, num_beams=5, length_penalty=0.6)
GREEDY = dataclasses.replace(SEARCH, num_beams=1)


class PairDecoder:
    """A batch of targets, each the translation of a source; each `read` adds the next tokens.

    use_cache=False reads the whole targets again at each step; the scores are the same.
    """

    def __init__(
        self, model: EncoderDecoder, sources: Sequence[Sequence[int]], *, use_cache: bool = True
    ):
        self._model = model
        source = padded(sources, model.config.pad_token_id)
        self._mask = model.mask_of(source)
        with evaluating(model):
            self._memory = model.encode(source, self._mask)
        self._source_of = np.arange(len(source))  # of each row
        self._ids = np.zeros((len(source), 0), int)
        layers = model.config.decoder_layers
        self._caches = [LayerCache() for _ in range(layers)] if use_cache else None

    def read(self, ids: np.ndarray) -> np.ndarray:
        """The tokens ids (B, T) that follow -> logits (B, V) of the token after them."""
        self._ids = np.concatenate([self._ids, ids], axis=1)
        ids = self._ids if self._caches is None else ids
        with evaluating(self._model):
            states = self._model.decode(ids, self._memory, self._mask, cache=self._caches)
            return checked_scores(self._model.logits(states[:, -1]).data)

    def reorder(self, rows: np.ndarray) -> None:
        """Let the batch be these of its rows, each any number of times."""
        sources = self._source_of[rows]
        moved = not np.array_equal(sources, self._source_of)
        if moved:
            self._memory = self._memory.detach()[rows]
            self._mask = None if self._mask is None else self._mask[rows]
        self._ids, self._source_of = self._ids[rows], sources
        for cache in self._caches or ():
            cache.reorder(rows, memory=moved)


def translate(
    model: EncoderDecoder,
    sources: Sequence[Sequence[int]],
    config: GenerationConfig = SEARCH,
    *,
    use_cache: bool = True,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Hypothesis]:
    """The best target of each source: greedy for one beam, else by log p over Wu's length penalty.

    sources: ids with the end token. config: num_beams and length_penalty; its max_new_tokens is
    not used: a target ends with the end token, or BEYOND tokens after the length of its source.
    progress is told of each number of sources that are done.
    """
    for number, source in enumerate(sources, 1):
        _check_source(model, source, number)
    found: list[Hypothesis | None] = [None] * len(sources)
    for batch in _batches(sources, max(1, ROWS // config.num_beams)):
        reader = PairDecoder(model, [sources[i] for i in batch], use_cache=use_cache)
        searches = [_search(model, len(sources[i]), config) for i in batch]
        for i, hypothesis in zip(batch, search_all(reader, searches), strict=True):
            found[i] = hypothesis
        progress(len(batch))
    return found


def _search(model: EncoderDecoder, length: int, config: GenerationConfig):
    own = model.config
    longest = min(length + BEYOND, own.max_position_embeddings)
    config = dataclasses.replace(config, max_new_tokens=longest, eos_token_id=own.eos_token_id)
    start = [own.decoder_start_token_id]
    if config.num_beams == 1:
        return greedy_search(start, config)
    return search(start, config, config.num_beams, wu(config))


def _check_source(model: EncoderDecoder, source: Sequence[int], number: int) -> None:
    longest = model.config.max_position_embeddings
    if not 0 < len(source) <= longest:
        raise InputError(
            f"text {number} has {len(source)} tokens; the model reads from 1 to {longest}: "
            "cut it into sentences"
        )
    check_vocabulary(model, source, f"text {number}")


def _batches(sources: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """The numbers of sources of about equal length, `size` at a time."""
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    for first in range(0, len(order), size):
        yield order[first : first + size]


def padded(texts: Sequence[Sequence[int]], value: int) -> np.ndarray:
    """Texts of ids as one array (B, longest), filled up with `value`."""
    rows = np.full((len(texts), max(map(len, texts))), value, np.int64)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = text
    return rows


def translate_texts(
    model: EncoderDecoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    config: GenerationConfig = SEARCH,
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> list[str]:
    """The translation of each text; that of a text without a word is empty."""
    end, written = model.config.eos_token_id, [""] * len(texts)
    ids = tokenizer.encode_batch([text.strip() for text in texts])
    sources = {i: [*text, end] for i, text in enumerate(ids) if text}
    for i, source in sources.items():
        _check_source(model, source, i + 1)  # as the caller counts
    found = translate(model, list(sources.values()), config, progress=progress)
    for i, hypothesis in zip(sources, found, strict=True):
        written[i] = tokenizer.decode([token for token in hypothesis.ids if token != end])
    return written

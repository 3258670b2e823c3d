"""Continuing texts, token by token: greedy or drawn, alone or in a batch, as ids or as text.

Prompts of different lengths need no padding: all rows of a batch stand at the same position, and a
row whose prompt goes on there reads its own next token instead of a chosen one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference import sampling
from tinygrad_llm.inference.beam import beam_search
from tinygrad_llm.inference.decoder import Decoder, checked_prompt
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.inference.stop import until
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.text import Tokenizer

NOTHING = -1  # instead of a token: the row's prompt is still being read, or its text has ended


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    rng: np.random.Generator | None = None,
    use_cache: bool = True,
) -> Iterator[np.ndarray]:
    """Each step's new tokens (B,), NOTHING where a row has none, until every text has ended.

    A text ends with an id of config.eos_ids or after max_new_tokens. A single row draws from rng,
    row i of several from rng.spawn(B)[i], so each row gets the tokens that it would get alone.
    """
    if config.num_beams > 1:
        raise InputError(
            f"num_beams is {config.num_beams}, and beam search ends with whole texts: "
            "call beam_search or complete"
        )
    if config.temperature > 0 and rng is None:
        raise InputError(f"temperature {config.temperature} draws tokens: give a generator rng")
    texts = [checked_prompt(model, prompt) for prompt in prompts]
    rngs = rng.spawn(len(texts)) if rng is not None and len(texts) > 1 else [rng] * len(texts)
    return _steps(Decoder(model, use_cache=use_cache), texts, config, rngs)


def _steps(
    decoder: Decoder,
    texts: list[list[int]],
    config: GenerationConfig,
    rngs: Sequence[np.random.Generator | None],
) -> Iterator[np.ndarray]:
    """Read as far as every running text goes, choose for those that end there, drop the ended."""
    limits = [len(text) + config.max_new_tokens for text in texts]
    running, read = list(range(len(texts))), 0
    while running:
        end = min(len(texts[i]) for i in running)
        logits = decoder.read(np.array([texts[i][read:end] for i in running]))
        read, step = end, np.full(len(texts), NOTHING)
        for row, i in zip(logits, running, strict=True):
            if len(texts[i]) == end:
                step[i] = choose(row, texts[i], config, rngs[i])
                texts[i].append(int(step[i]))
        yield step
        kept = [
            row
            for row, i in enumerate(running)
            if len(texts[i]) < limits[i] and step[i] not in config.eos_ids
        ]
        running = [running[row] for row in kept]
        decoder.reorder(np.array(kept, int))


def choose(
    logits: np.ndarray,
    ids: Sequence[int],
    config: GenerationConfig,
    rng: np.random.Generator | None,
) -> int:
    """The token after ids, from the model's logits (V,). At temperature 0 rng is not used."""
    rows = logits[None].astype(np.float64)
    if config.repetition_penalty != 1:
        rows = sampling.repetition_penalty(rows, np.array([ids]), config.repetition_penalty)
    if config.temperature == 0:
        return int(np.argmax(rows))
    rows = sampling.temperature(rows, config.temperature)
    rows = sampling.top_p(sampling.top_k(rows, config.top_k), config.top_p)
    return int(sampling.draw(rows, rng)[0])


def generate_all(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    rng: np.random.Generator | None = None,
) -> list[list[int]]:
    """The new tokens of each prompt, when all texts have ended."""
    texts: list[list[int]] = [[] for _ in prompts]
    for step in generate(model, prompts, config, rng=rng):
        for text, token in zip(texts, step.tolist(), strict=True):
            if token != NOTHING:
                text.append(token)
    return texts


def complete(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    config: GenerationConfig,
    *,
    rng: np.random.Generator | None = None,
) -> Iterator[str]:
    """The text after the prompt, in pieces as they are written (with beams: when all is written).

    It ends before a stop string, of which no part is shown, and before an id of config.eos_ids. An
    empty prompt begins with the first of those ids, which separates the texts in training.
    """
    ids = tokenizer.encode(prompt) or list(config.eos_ids[:1])
    if config.num_beams > 1:
        tokens: Iterable[int] = beam_search(model, ids, config).ids
    else:
        tokens = (int(step[0]) for step in generate(model, [ids], config, rng=rng))
    return until(pieces(tokens, tokenizer, config.eos_ids), config.stop_strings)


def pieces(tokens: Iterable[int], tokenizer: Tokenizer, ends: Sequence[int]) -> Iterator[str]:
    """The text of tokens as they come, whole characters only, without the id that ends it."""
    decoder = tokenizer.stream_decoder()
    for token in tokens:
        if token not in ends and (piece := decoder.feed(token)):
            yield piece
    if rest := decoder.finish():
        yield rest

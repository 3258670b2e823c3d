"""Translating: batches, caches and beams that find what a search alone, without cache, finds."""

import dataclasses
import itertools

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.translate import GREEDY, SEARCH, padded, translate, translate_texts
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.text import ByteTokenizer

END, START = 1, 2


def model_of(seed, vocab_size=11, longest=24, **changes):
    config = EncoderDecoderConfig(
        vocab_size=vocab_size,
        d_model=8,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        max_position_embeddings=longest,
        **changes,
    )
    rng = np.random.default_rng(seed)
    model = EncoderDecoder(config, rng=rng)  # in training mode: translating must not drop
    for parameter in model.parameters():
        parameter.copy_(rng.standard_normal(parameter.shape) * rng.uniform(0.2, 1))
    return model


def sources_of(seed, count=9, vocab_size=11):
    rng = np.random.default_rng(seed)
    return [[*rng.integers(3, vocab_size, size=n).tolist(), END] for n in rng.integers(1, 9, count)]


def log_p_of(model, source, ids):
    model.eval()
    logits = model(np.array([source]), np.array([[START, *ids[:-1]]])).data[0].astype(np.float64)
    model.train()
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return sum(log_p[i, token] for i, token in enumerate(ids))


@pytest.mark.parametrize("beams", [1, 4])
def test_a_batch_gives_what_each_source_gives_alone_and_without_cache(beams):
    config = dataclasses.replace(SEARCH, num_beams=beams)
    for seed in range(4):
        model, sources = model_of(seed), sources_of(seed)
        together = translate(model, sources, config)
        for source, hypothesis in zip(sources, together, strict=True):
            alone = translate(model, [source], config, use_cache=False)[0]
            assert hypothesis.ids == alone.ids and abs(hypothesis.score - alone.score) < 1e-4


def test_greedy_takes_the_best_token_each_time():
    for seed in range(4):
        model, sources = model_of(seed), sources_of(seed)
        for source, (ids, score) in zip(sources, translate(model, sources, GREEDY), strict=True):
            logits = model.eval()(np.array([source]), np.array([[START, *ids[:-1]]])).data[0]
            assert logits.argmax(axis=-1).tolist() == ids
            assert END not in ids[:-1] and (ids[-1] == END or len(ids) == 24)
            assert abs(score - log_p_of(model, source, ids)) < 1e-4


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_a_search_that_sees_all_targets_finds_the_best(alpha):
    """By hand over all targets of up to 4 tokens of a vocabulary of 4."""
    config = dataclasses.replace(SEARCH, num_beams=4**4, length_penalty=alpha)
    targets = [
        ids
        for n in range(1, 5)
        for ids in itertools.product(range(4), repeat=n)
        if END not in ids[:-1] and (n == 4 or ids[-1] == END)
    ]
    for seed in range(4):
        model, source = model_of(seed, vocab_size=4, longest=4), [3, 0, END]
        found = translate(model, [source], config)[0]
        scores = [
            log_p_of(model, source, list(ids)) / ((5 + len(ids)) / 6) ** alpha for ids in targets
        ]
        assert abs(found.score - max(scores)) < 1e-4


def test_more_beams_find_better_targets():
    gain = 0.0
    for seed in range(6):
        model, sources = model_of(seed), sources_of(seed)
        wide = dataclasses.replace(SEARCH, num_beams=6, length_penalty=0.0)
        for one, six in zip(translate(model, sources, GREEDY), translate(model, sources, wide)):
            gain += six.score - one.score
    assert gain > 0.5


def test_progress_and_padding():
    done = []
    translate(model_of(0), sources_of(0), GREEDY, progress=done.append)
    assert sum(done) == 9
    assert padded([[5], [6, 7]], 0).tolist() == [[5, 0], [6, 7]]


def test_texts_keep_their_places_and_an_empty_one_stays_empty():
    model = model_of(3, vocab_size=260, eos_token_id=256, decoder_start_token_id=257)
    texts = ["ab", "", "  ", "c"]
    found = translate_texts(model, ByteTokenizer(), texts, GREEDY)
    assert found[1] == found[2] == "" and len(found) == 4
    assert found[3] == translate_texts(model, ByteTokenizer(), ["c"], GREEDY)[0]


def test_a_source_that_cannot_be_read_is_refused_by_its_number():
    for source, message in (([3] * 25, "25 tokens; the model reads from 1 to 24"), ([3, 11], "11")):
        with pytest.raises(InputError, match=f"text 2 has .*{message}"):
            translate(model_of(0), [[3], source])
    model = model_of(3, vocab_size=260, eos_token_id=256, decoder_start_token_id=257)
    with pytest.raises(InputError, match="text 4 has 31 tokens"):  # empty ones count too
        translate_texts(model, ByteTokenizer(), ["ab", "", " ", "c" * 30], GREEDY)

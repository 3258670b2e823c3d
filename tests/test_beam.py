"""Beam search: never below greedy, the optimum where it can see all, and scores that are true."""

import dataclasses
import itertools

import numpy as np
import pytest

from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.inference.beam import beam_search
from tinygrad_llm.inference.generate import GenerationConfig, generate_all
from tinygrad_llm.models.gpt import GPT, GPTConfig

PROMPT = [1, 2]
LOSES_GREEDY = 120  # in this model a search with 2 or 3 beams loses the greedy path for good


def model_of(seed, vocab_size=7, **changes):
    sizes = {"n_positions": 32, "n_layer": 1, "n_head": 2, "n_embd": 8} | changes
    rng = np.random.default_rng(seed)
    model = GPT(GPTConfig(vocab_size=vocab_size, **sizes), rng=rng).eval()
    for parameter in model.parameters():
        values = rng.standard_normal(parameter.shape, dtype=np.float32)
        parameter.copy_(values * rng.uniform(0.2, 1))
    return model


def score_of(model, ids, config):
    """log p(ids | PROMPT) / len(ids)^length_penalty, from one forward pass."""
    logits = model(np.array([PROMPT + ids])).data[0].astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    total = sum(log_p[len(PROMPT) - 1 + i, token] for i, token in enumerate(ids))
    return total / len(ids) ** config.length_penalty


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.0])
def test_beam_search_never_scores_below_greedy_and_says_its_true_score(length_penalty):
    better = 0
    for seed in [*range(30), LOSES_GREEDY]:
        model = model_of(seed)
        config = GenerationConfig(
            temperature=0,
            max_new_tokens=7,
            length_penalty=length_penalty,
            eos_token_id=3 if seed % 2 else None,
        )
        greedy = score_of(model, generate_all(model, [PROMPT], config)[0], config)
        for width in (2, 5):
            found = beam_search(model, PROMPT, dataclasses.replace(config, num_beams=width))
            assert found.score >= greedy - 1e-5
            assert abs(found.score - score_of(model, found.ids, config)) < 1e-4
            better += found.score > greedy + 1e-3
    assert better > 10


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("end", [None, 2])
def test_a_search_that_can_see_all_texts_finds_the_best(length_penalty, end):
    for seed in (0, 14, 20, 33):
        model = model_of(seed, vocab_size=4)
        config = GenerationConfig(
            max_new_tokens=4, num_beams=4**4, length_penalty=length_penalty, eos_token_id=end
        )
        texts = [
            list(ids)
            for n in range(1, 5)
            for ids in itertools.product(range(4), repeat=n)
            if end not in ids[:-1] and (n == 4 or ids[-1] == end)
        ]
        best = max(score_of(model, ids, config) for ids in texts)
        assert abs(beam_search(model, PROMPT, config).score - best) < 1e-5


def test_one_beam_without_an_end_is_greedy():
    for seed in range(10):
        model = model_of(seed)
        config = GenerationConfig(temperature=0, max_new_tokens=40, repetition_penalty=1.3)
        assert beam_search(model, PROMPT, config).ids == generate_all(model, [PROMPT], config)[0]


def test_the_cache_and_the_sliding_window_change_nothing():
    for seed in range(5):
        config = GenerationConfig(num_beams=3, max_new_tokens=60, length_penalty=0.5)
        model = model_of(seed, n_positions=16)
        cached, anew = (beam_search(model, PROMPT, config, use_cache=use) for use in (True, False))
        assert cached.ids == anew.ids and abs(cached.score - anew.score) < 1e-4


def test_equal_scores_are_settled_in_favour_of_the_first_token():
    model = model_of(0)
    model.lm_head.weight.copy_(np.zeros((7, 8)))
    config = GenerationConfig(num_beams=3, max_new_tokens=4)
    assert beam_search(model, PROMPT, config).ids == [0, 0, 0, 0]


def test_it_ends_where_every_token_is_an_end():
    found = beam_search(
        model_of(0, 4),
        PROMPT,
        GenerationConfig(num_beams=2, max_new_tokens=9, eos_token_id=(0, 1, 2, 3)),
    )
    assert len(found.ids) == 1
    assert beam_search(
        model_of(0, 4), PROMPT, GenerationConfig(num_beams=2, max_new_tokens=9, eos_token_id=50256)
    ).ids


def test_it_scores_no_lower_than_transformers(tmp_path):
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    equal = 0
    for seed in range(8):
        model = model_of(seed, vocab_size=12)
        save_model(tmp_path, model)
        peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
        prompt = torch.tensor([PROMPT])
        theirs = peer.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=8,
            do_sample=False,
            num_beams=4,
            length_penalty=1.0,
            early_stopping="never",
            eos_token_id=3,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        found = beam_search(
            model, PROMPT, GenerationConfig(num_beams=4, max_new_tokens=8, eos_token_id=3)
        )
        assert found.score >= theirs.sequences_scores.item() - 1e-4
        equal += abs(found.score - theirs.sequences_scores.item()) < 1e-4
    assert equal >= 6

"""The decoder: the window past the context, and that reading changes nothing about the model."""

import doctest

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference import decoder as decoder_file
from tinygrad_llm.inference.decoder import Decoder, checked_prompt, window_start
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.tensor import watch


def small_model(**changes):
    sizes = {"vocab_size": 17, "n_positions": 8, "n_layer": 2, "n_head": 2, "n_embd": 8} | changes
    rng = np.random.default_rng(0)
    model = GPT(GPTConfig(**sizes), rng=rng)
    for parameter in model.parameters():
        parameter.copy_(rng.standard_normal(parameter.shape, dtype=np.float32) * 0.5)
    return model


@pytest.mark.parametrize("n_positions", [1, 2, 3, 4, 7, 8, 64])
def test_the_window_slides_as_described(n_positions):
    """A simulation: keep all until one more does not fit, then keep the last half."""
    start = 0
    for length in range(1, 300):
        if length - start > n_positions:
            start = length - max(1, n_positions // 2)
        assert window_start(length, n_positions) == start


def test_the_example_in_the_docstring():
    assert doctest.testmod(decoder_file) == (0, 1)


@pytest.mark.parametrize("first", [1, 5, 8, 9, 30])
def test_reading_on_with_the_cache_equals_reading_the_window_anew(first):
    model = small_model()
    ids = np.random.default_rng(1).integers(17, size=(2, 40))
    cached, anew = Decoder(model), Decoder(model, use_cache=False)
    for start, end in zip([0, *range(first, 40)], range(first, 41), strict=True):
        logits = cached.read(ids[:, start:end])
        np.testing.assert_allclose(logits, anew.read(ids[:, start:end]), atol=1e-5)
        window = ids[:, window_start(end, 8) : end]
        np.testing.assert_allclose(logits, model(window).data[:, -1], atol=1e-5)


def test_only_the_last_position_gets_scores_a_step_reads_one_token_nothing_is_recorded():
    decoder, made = Decoder(small_model()), []
    with watch(lambda *call: made.extend(call[-1])):
        decoder.read(np.zeros((3, 5), int))
        assert [y.shape for y in made if y.shape[-1] == 17] == [(3, 17)]
        assert not any(y.requires_grad for y in made)
        made.clear()
        decoder.read(np.zeros((3, 1), int))
    shapes = {y.shape for y in made}
    assert (3, 1, 8) in shapes and (3, 6, 8) not in shapes


def test_the_model_stays_as_it_was():
    model = small_model(dropout=0.5)
    before = Decoder(model.eval()).read(np.zeros((1, 4), int))
    model.train()
    state = model.drop.rng.bit_generator.state
    np.testing.assert_array_equal(Decoder(model).read(np.zeros((1, 4), int)), before)
    assert all(module.training for _, module in model.named_modules())
    assert model.drop.rng.bit_generator.state == state
    assert model(np.zeros((1, 4), int)).requires_grad


def test_the_model_is_in_training_again_after_an_error():
    model = small_model().train()
    with pytest.raises(ValueError):
        Decoder(model).read(np.array([[99]]))
    assert model.training and model.h[0].attn.training


def test_rows_can_be_repeated():
    model, ids = small_model(), np.random.default_rng(1).integers(17, size=(2, 20))
    decoder = Decoder(model)
    decoder.read(ids[:, :6])
    decoder.reorder(np.array([1, 1, 0]))
    for end in range(7, 20):  # past the context, where the ids are read again
        logits = decoder.read(ids[[1, 1, 0], end - 1 : end])
    alone = Decoder(model).read(ids[:, :19])
    np.testing.assert_allclose(logits, alone[[1, 1, 0]], atol=1e-5)


def test_scores_that_are_not_numbers_are_an_error():
    model = small_model()
    model.ln_f.weight.copy_(np.full(8, np.nan))
    with pytest.raises(InputError, match="not finite numbers"):
        Decoder(model).read(np.array([[1]]))


@pytest.mark.parametrize(
    "ids, message", [([], "empty"), ([3, 17], "token 17, .* has 17"), ([-1], "-1")]
)
def test_a_prompt_that_cannot_be_read_is_an_error(ids, message):
    with pytest.raises(InputError, match=message):
        checked_prompt(small_model(), ids)


def test_a_prompt_may_be_an_array():
    assert checked_prompt(small_model(), np.array([3, 4], np.uint16)) == [3, 4]

"""Llama: shared key-value heads, the cache, and what a configuration may not say."""

import dataclasses

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.decoder import Decoder
from tinygrad_llm.inference.generate import generate_all
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.models.llama import Llama, LlamaConfig
from tinygrad_llm.tensor import no_grad, watch

SMALL = LlamaConfig(
    vocab_size=31,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=16,
    initializer_range=0.4,
)
SMOLLM2 = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    tie_word_embeddings=True,
)
IDS = np.random.default_rng(5).integers(31, size=(3, 12))


def small_model(**changes):
    return Llama(dataclasses.replace(SMALL, **changes), rng=np.random.default_rng(1)).eval()


def logits(model, ids=IDS):
    with no_grad():
        return model(ids).data


def test_parameters_of_smollm2():
    """Embedding 49,152 * 576; a layer 2 * 576^2 + 2 * 576 * 192 + 3 * 576 * 1,536 + 2 * 576."""
    one, two = (
        Llama(
            dataclasses.replace(SMOLLM2, vocab_size=1, num_hidden_layers=n),
            rng=np.random.default_rng(0),
        ).num_parameters()
        for n in (1, 2)
    )
    assert two - one == 3_540_096
    assert one + 29 * (two - one) + 49_151 * 576 == 134_515_008


def test_shared_heads_equal_the_same_heads_written_out():
    model, wide = small_model(), small_model(num_key_value_heads=6)
    state = model.state_dict()
    for name in list(state):
        if name.endswith("in_proj.weight"):
            q, k, v = np.split(state[name], [24, 32])
            repeated = [np.repeat(x.reshape(2, 4, 24), 3, axis=0).reshape(24, 24) for x in (k, v)]
            state[name] = np.concatenate([q, *repeated])
    wide.load_state_dict(state)
    np.testing.assert_allclose(logits(wide), logits(model), atol=1e-5)


def test_a_later_token_changes_nothing_before_it():
    model, changed = small_model(), IDS.copy()
    changed[:, 7] = (changed[:, 7] + 1) % 31
    difference = np.abs(logits(model) - logits(model, changed)).max(axis=(0, 2))
    assert (difference[:7] == 0).all() and (difference[7:] > 0).all()


@pytest.mark.parametrize("first", [1, 5, 12])
def test_reading_on_with_the_cache_equals_reading_all(first):
    model, decoder = small_model(), Decoder(small_model())
    for start, end in zip([0, *range(first, 12)], range(first, 13), strict=True):
        read = decoder.read(IDS[:, start:end])
        np.testing.assert_allclose(read, logits(model, IDS[:, :end])[:, -1], atol=2e-5)


def test_the_window_slides_past_the_context():
    cached, anew = Decoder(small_model()), Decoder(small_model(), use_cache=False)
    ids = np.random.default_rng(2).integers(31, size=(2, 40))
    for t in range(40):
        read = cached.read(ids[:, t : t + 1])
        np.testing.assert_allclose(read, anew.read(ids[:, t : t + 1]), atol=2e-5)


def test_texts_of_a_batch_are_those_they_would_be_alone():
    model, config = small_model(), GenerationConfig(max_new_tokens=20, temperature=0)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    alone = [generate_all(model, [prompt], config)[0] for prompt in prompts]
    assert generate_all(model, prompts, config) == alone


def test_training_reaches_every_parameter_and_lowers_the_loss():
    model = small_model(attention_bias=True, mlp_bias=True, initializer_range=0.1).train()
    losses = []
    for _ in range(20):
        model.zero_grad()
        loss = F.cross_entropy(model(IDS[:, :-1]), IDS[:, 1:])
        loss.backward()
        assert all(np.any(p.grad) for n, p in model.named_parameters() if "in_proj.bias" not in n)
        for parameter in model.parameters():
            parameter.copy_(parameter.data - 0.3 * parameter.grad)
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_dropout_is_on_in_training_alone():
    model = small_model(attention_dropout=0.5)
    before = logits(model)
    assert (logits(model.train()) != before).any()
    np.testing.assert_array_equal(logits(model.eval()), before)


def test_dropout_is_of_attention_weights_alone():
    dropped = {}

    def note(op, operands, settings, outputs):
        dropped[op.__name__] = settings.get("dropout_p", 0)

    with watch(note):
        logits(small_model(attention_dropout=0.5).train())
    assert dropped["scaled_dot_product_attention"] == 0.5 and dropped["linear_residual"] == 0


def test_a_text_longer_than_the_context_is_an_error():
    with pytest.raises(InputError, match="17 tokens are more than the model's context of 16"):
        small_model()(np.zeros((1, 17), int))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ({"hidden_size": 25}, "25 is not divisible by 2 num_attention_heads = 12"),
        ({"hidden_size": 18}, "18 is not divisible"),
        ({"num_key_value_heads": 4}, "6 is not divisible by num_key_value_heads 4"),
        ({"attention_dropout": 1.0}, "attention_dropout 1.0"),
        ({"rope_theta": 0.0}, "rope_theta 0.0"),
        ({"initializer_range": 1e308}, "initializer_range 1e\\+308 is not in"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps nan"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_with_its_numbers(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **change)

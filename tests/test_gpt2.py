"""GPT-2's config.json and tensor names: what is written, what is read, what is refused by name."""

import dataclasses
import itertools

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.gpt2 import FAMILY, SIZES, from_config, slots, to_config
from tinygrad_llm.formats.weights import to_tensors
from tinygrad_llm.models.gpt import GPT, PRESETS, GPTConfig

SMALL = GPTConfig(vocab_size=11, n_positions=6, n_layer=2, n_head=2, n_embd=8, dropout=0.1)
VARIANTS = [
    dataclasses.replace(SMALL, bias=bias, qkv_bias=qkv_bias, tie_word_embeddings=tied)
    for bias, qkv_bias, tied in itertools.product((True, False), repeat=3)
]

REFUSED = {
    "activation_function": "relu",
    "n_inner": 31,
    "scale_attn_weights": False,
    "scale_attn_by_inverse_layer_idx": True,
    "add_cross_attention": True,
    "quantization_config": {"bits": 4},
    "attn_pdrop": 0.3,
    "embd_pdrop": None,
    "resid_pdrop": "none",
    "n_head": 3,
    "n_layer": 0,
    "vocab_size": "11",
    "n_embd": 8.0,
    "n_positions": True,
    "bias": "yes",
    "tie_word_embeddings": None,
    "layer_norm_epsilon": 0,
}


def shapes_of(tensors):
    return {name: array.shape for name, array in tensors.items()}


@pytest.mark.parametrize("config", [*VARIANTS, *PRESETS.values()])
def test_a_configuration_comes_back_from_its_document(config):
    assert from_config(to_config(config)) == config


@pytest.mark.parametrize("key", REFUSED)
def test_what_gpt_computes_differently_is_refused_by_name(key):
    with pytest.raises(InputError, match=key):
        from_config(to_config(SMALL) | {key: REFUSED[key]})


@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_is_missing_is_not_guessed(key):
    document = to_config(SMALL)
    del document[key]
    with pytest.raises(InputError, match=key):
        from_config(document)


def test_missing_keys_mean_what_they_mean_to_transformers():
    sizes = {key: to_config(SMALL)[key] for key in SIZES}
    assert from_config(sizes | {"task_specific_params": {}}) == SMALL
    assert from_config(sizes | {"n_inner": 32, "activation_function": "gelu_pytorch_tanh"}) == SMALL


@pytest.mark.parametrize("config", VARIANTS)
def test_every_parameter_has_one_slot_and_a_missing_bias_is_zeros(config):
    model = GPT(config, rng=np.random.default_rng(0))
    parameters = dict(model.named_parameters())
    assert {s.parameter for s in slots(config) if s.in_model} == parameters.keys()
    tensors = to_tensors(FAMILY, model)
    assert len(tensors) == 2 + 12 * 2 + 2 + (not config.tie_word_embeddings)
    for name, slot in FAMILY.match(config, shapes_of(tensors)).items():
        stored = tensors[name].T if slot.transposed else tensors[name]
        expected = parameters[slot.parameter].data if slot.in_model else np.zeros(slot.shape)
        np.testing.assert_array_equal(stored, expected)


def test_names_fit_with_and_without_the_prefix_and_old_buffers_are_ignored():
    shapes = shapes_of(to_tensors(FAMILY, GPT(SMALL, rng=np.random.default_rng(0))))
    bare = {name.removeprefix("transformer."): shape for name, shape in shapes.items()}
    old = {"h.0.attn.bias": (1, 1, 6, 6), "h.1.attn.masked_bias": ()}
    assert list(FAMILY.match(SMALL, bare | old).values()) == list(
        FAMILY.match(SMALL, shapes).values()
    )
    assert not FAMILY.match(SMALL, bare | old).keys() & old.keys()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"wpe.weight": None}, "'wpe.weight' is missing"),
        ({"score.weight": (2, 8)}, "'score.weight' has no place"),
        ({"h.2.ln_1.bias": (8,)}, "'h.2.ln_1.bias' has no place"),
        (
            {"h.1.mlp.c_fc.weight": (32, 8)},
            r"c_fc.weight has shape \(32, 8\), but the model \(8, 32\)",
        ),
        ({"transformer.wte.weight": (11, 8)}, "both 'wte.weight' and 'transformer.wte.weight'"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(change, message):
    shapes = {slot.name: slot.shape for slot in slots(SMALL) if slot.in_model} | change
    with pytest.raises(InputError, match=message):
        FAMILY.match(SMALL, {name: shape for name, shape in shapes.items() if shape is not None})


def test_a_promise_of_a_billion_layers_costs_nothing():
    with pytest.raises(InputError, match="the tensor 'wpe.weight' is missing"):
        FAMILY.match(dataclasses.replace(SMALL, n_layer=10**9), {"wte.weight": (11, 8)})

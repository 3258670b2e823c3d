"""Llama's folders beside transformers in both directions, and what config.json may not ask for."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from tests.test_llama import IDS, SMALL
from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.formats.llama import FAMILY, SIZES, from_config, slots, to_config
from tinygrad_llm.models.llama import Llama
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.tensor_files import load_tensors, save_tensors

VARIANTS = [
    {"tie_word_embeddings": tied, "attention_bias": bias, "mlp_bias": bias, **heads}
    for tied, bias, heads in itertools.product(
        (True, False),
        (True, False),
        ({"num_key_value_heads": 6}, {"num_key_value_heads": 1, "rope_theta": 100.0}),
    )
]
REFUSED = {
    "hidden_act": "gelu",
    "pretraining_tp": 2,
    "partial_rotary_factor": 0.5,
    "sliding_window": 4096,
    "quantization_config": {"bits": 4},
    "head_dim": 8,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
    "rope_parameters": {"rope_type": "linear", "rope_theta": 1.0},
    "rope_theta": 500.0,
    "num_key_value_heads": 5,
    "vocab_size": "31",
    "hidden_size": 24.0,
    "attention_bias": "yes",
    "rms_norm_eps": None,
    "tie_word_embeddings": None,
}


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch", reason="pip install torch")
    module = pytest.importorskip("transformers", reason="pip install transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def noisy_model(**changes):
    rng = np.random.default_rng(1)
    model = Llama(dataclasses.replace(SMALL, **changes), rng=rng)
    for parameter in model.parameters():
        noise = rng.standard_normal(parameter.shape, dtype=np.float32)
        parameter.copy_(parameter.data + 0.2 * noise)
    return model.eval()


def logits(model):
    with no_grad():
        return model(IDS).data


def their_logits(model):
    import torch

    with torch.no_grad():
        return model.eval()(torch.tensor(IDS)).logits.numpy()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_transformers_opens_what_we_save_and_we_open_what_it_saves(variant, transformers, tmp_path):
    model = noisy_model(**variant)
    save_model(tmp_path / "ours", model)
    theirs, report = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report.values()), report
    np.testing.assert_allclose(their_logits(theirs), logits(model), atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    np.testing.assert_array_equal(logits(again), logits(model))
    assert again.config == model.config and not again.training


def test_a_model_that_transformers_made_gives_its_logits_and_its_gradients(transformers, tmp_path):
    import torch

    config = transformers.LlamaConfig(
        vocab_size=31,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=16,
        rope_theta=1000.0,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(config)
    theirs.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    np.testing.assert_allclose(logits(model), their_logits(theirs), atol=1e-4)
    loss = F.cross_entropy(model(IDS[:, :-1]), IDS[:, 1:])
    loss.backward()
    ids = torch.tensor(IDS)
    theirs(ids, labels=ids).loss.backward()
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    own = {name: p.grad for name, p in model.named_parameters()}
    for slot in slots(model.config):
        ours = own[slot.parameter]
        if slot.first is not None:
            ours = ours[slot.first : slot.first + slot.shape[0]]
        expected = gradients[FAMILY.full_name(slot)]
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    theirs.model.save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match="'lm_head.weight' is missing"):
        load_model(tmp_path / "base")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_becomes_float32(dtype, transformers, tmp_path):
    import torch

    save_model(tmp_path / "ours", noisy_model())
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours")
    theirs.to(getattr(torch, dtype)).save_pretrained(tmp_path / "theirs")
    loaded = load_model(tmp_path / "theirs")
    assert all(parameter.dtype == np.float32 for parameter in loaded.parameters())
    wide = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    np.testing.assert_allclose(logits(loaded), their_logits(wide), atol=1e-4)


def test_several_files_are_opened_in_both_directions(transformers, tmp_path):
    model = noisy_model()
    save_model(tmp_path / "ours", model, max_shard_bytes=8000)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours")
    np.testing.assert_allclose(their_logits(theirs), logits(model), atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="8KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    np.testing.assert_array_equal(logits(load_model(tmp_path / "theirs")), logits(model))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_are_stored_once(tied, tmp_path):
    save_model(tmp_path, noisy_model(tie_word_embeddings=tied))
    tensors, metadata = load_tensors(tmp_path / "model.safetensors")
    assert ("lm_head.weight" in tensors) != tied and metadata == {"format": "pt"}
    assert tensors["model.layers.1.self_attn.k_proj.weight"].shape == (8, 24)
    assert sum(x.size for x in tensors.values()) == load_model(tmp_path).num_parameters()


def test_a_tied_head_in_the_file_must_be_the_embedding(tmp_path):
    save_model(tmp_path, model := noisy_model(tie_word_embeddings=True))
    path = tmp_path / "model.safetensors"
    tensors, _ = load_tensors(path)
    embedding = tensors["model.embed_tokens.weight"]
    save_tensors(path, tensors | {"lm_head.weight": embedding})
    np.testing.assert_array_equal(logits(load_model(tmp_path)), logits(model))
    save_tensors(path, tensors | {"lm_head.weight": embedding + 1})
    with pytest.raises(InputError, match="true, but lm_head.weight is not equal to embed_tokens"):
        load_model(tmp_path)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_configuration_comes_back_from_its_document(variant):
    config = dataclasses.replace(SMALL, **variant)
    assert from_config(json.loads(json.dumps(to_config(config)))) == config


@pytest.mark.parametrize("key", REFUSED)
def test_what_llama_computes_differently_is_refused_by_name(key):
    with pytest.raises(InputError, match=key):
        from_config(to_config(SMALL) | {key: REFUSED[key]})


@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_is_missing_is_not_guessed(key):
    document = to_config(SMALL)
    del document[key]
    with pytest.raises(InputError, match=key):
        from_config(document)


def test_documents_of_older_versions_mean_the_same():
    old = {key: to_config(SMALL)[key] for key in SIZES}
    every_head = dataclasses.replace(SMALL, num_key_value_heads=6, initializer_range=0.02)
    assert from_config(old) == every_head
    assert from_config(old | {"rope_theta": 5e5, "rope_scaling": None}).rope_theta == 5e5
    new = {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    assert from_config(old | new).rope_theta == 5e5
    assert from_config(old | {"num_key_value_heads": None}) == every_head


def test_every_parameter_is_filled_row_by_row_once():
    config = dataclasses.replace(SMALL, attention_bias=True, mlp_bias=True)
    for name, parameter in Llama(config, rng=np.random.default_rng(0)).named_parameters():
        parts = [slot for slot in slots(config) if slot.parameter == name]
        rows = [r for s in parts for r in range(s.first or 0, (s.first or 0) + s.shape[0])]
        assert rows == list(range(parameter.shape[0])), name

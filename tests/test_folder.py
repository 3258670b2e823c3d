"""Model folders: beside transformers in both directions, and under damage."""

import dataclasses
import functools
import itertools
import json
import os
import tracemalloc

import numpy as np
import pytest

from tests import test_bert as bert
from tests import test_encoder_decoder as transformer
from tests import test_llama as llama
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.models import GPT, BertForMaskedLM, GPTConfig, Llama
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.tensor_files import load_tensors, save_tensors
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.masking import masked_token
from tinygrad_llm.training.objectives import next_target_token, next_token
from tinygrad_llm.training.optimizer import AdamW

CONFIG = GPTConfig(vocab_size=31, n_positions=12, n_layer=2, n_head=4, n_embd=16, dropout=0.25)
IDS = np.random.default_rng(5).integers(31, size=(3, 12))
VARIANTS = [
    {"bias": bias, "qkv_bias": qkv_bias, "tie_word_embeddings": tied}
    for bias, qkv_bias, tied in itertools.product((True, False), repeat=3)
]


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch", reason="pip install torch")
    module = pytest.importorskip("transformers", reason="pip install transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def noisy_model(**changes):
    """A model whose every parameter, biases and norms too, is far from its start."""
    rng = np.random.default_rng(1)
    model = GPT(dataclasses.replace(CONFIG, **changes), rng=rng)
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


def rewrite(folder, change=lambda tensors: tensors, **config):
    """Change a saved folder: the dict of its tensors, or keys of config.json."""
    tensors, metadata = load_tensors(folder / "model.safetensors")
    save_tensors(folder / "model.safetensors", change(tensors), metadata)
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(document | config))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_transformers_opens_what_we_save_and_we_open_what_it_saves(variant, transformers, tmp_path):
    model = noisy_model(**variant)
    save_model(tmp_path / "ours", model)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours")
    np.testing.assert_allclose(their_logits(theirs), logits(model), atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    np.testing.assert_array_equal(logits(again), logits(model))
    assert again.config == model.config and not again.training


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_that_transformers_made_gives_its_logits(tied, transformers, tmp_path):
    config = transformers.GPT2Config(
        vocab_size=31,
        n_positions=12,
        n_layer=2,
        n_head=4,
        n_embd=16,
        n_inner=64,
        tie_word_embeddings=tied,
        layer_norm_epsilon=1e-3,
    )
    theirs = transformers.GPT2LMHeadModel(config)
    theirs.save_pretrained(tmp_path)
    expected = their_logits(theirs)
    np.testing.assert_allclose(logits(load_model(tmp_path)), expected, atol=1e-5)
    theirs.transformer.save_pretrained(tmp_path / "base")
    if tied:
        np.testing.assert_allclose(logits(load_model(tmp_path / "base")), expected, atol=1e-5)
    else:
        with pytest.raises(InputError, match="'lm_head.weight' is missing"):
            load_model(tmp_path / "base")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floating_point_formats_become_float32(dtype, transformers, tmp_path):
    import torch

    save_model(tmp_path / "ours", noisy_model())
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours")
    theirs.to(getattr(torch, dtype)).save_pretrained(tmp_path / "theirs")
    loaded = load_model(tmp_path / "theirs")
    assert all(parameter.dtype == np.float32 for parameter in loaded.parameters())
    np.testing.assert_allclose(logits(loaded), their_logits(theirs.float()), atol=1e-5)


def test_tied_weights_are_stored_once(tmp_path):
    save_model(tmp_path, noisy_model())
    tensors, metadata = load_tensors(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in tensors and metadata == {"format": "pt"}
    assert "transformer.h.0.attn.c_attn.weight" in tensors
    assert tensors["transformer.h.1.mlp.c_fc.weight"].shape == (16, 64)


def test_a_tied_head_in_the_file_must_be_the_embedding(tmp_path):
    save_model(tmp_path, model := noisy_model())
    rewrite(tmp_path, lambda t: t | {"lm_head.weight": t["transformer.wte.weight"]})
    np.testing.assert_array_equal(logits(load_model(tmp_path)), logits(model))
    rewrite(tmp_path, lambda t: t | {"lm_head.weight": t["lm_head.weight"] + 1})
    with pytest.raises(InputError, match="tie_word_embeddings is true, but lm_head.weight"):
        load_model(tmp_path)


def test_a_model_without_biases_refuses_a_bias_that_is_not_zero(tmp_path):
    save_model(tmp_path, model := noisy_model(bias=False))
    rewrite(tmp_path, lambda t: {n: x for n, x in t.items() if not n.endswith(".bias")})
    np.testing.assert_array_equal(logits(load_model(tmp_path)), logits(model))
    rewrite(tmp_path, lambda t: t | {"transformer.ln_f.bias": np.ones(16, np.float32)})
    with pytest.raises(InputError, match="ln_f.bias is not zero"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.ones((31, 16), np.int64), "wte.weight is int64"),
        (np.full((31, 16), 1e300), "too large for float32"),
        (np.ones((30, 16), np.float32), "has shape"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(array, message, tmp_path):
    save_model(tmp_path, noisy_model())
    rewrite(tmp_path, lambda t: t | {"transformer.wte.weight": array})
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("pytorch_model.bin", "pickle"),
        ("other", "cannot read .*model.safetensors"),
    ],
)
def test_weights_in_another_format_are_refused_with_the_remedy(name, message, tmp_path):
    save_model(tmp_path, noisy_model())
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_a_folder_that_is_missing_or_empty_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="config.json"):
            load_model(folder)


def test_a_large_promise_is_refused_before_memory_is_taken(tmp_path):
    save_model(tmp_path, noisy_model())
    for key, value in [("n_layer", 10**9), ("vocab_size", 10**12), ("n_embd", 2**40)]:
        rewrite(tmp_path, n_layer=2, vocab_size=31, n_embd=16)
        rewrite(tmp_path, **{key: value})
        tracemalloc.start()
        with pytest.raises(InputError, match="do not fit"):
            load_model(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
        tracemalloc.stop()


def test_loading_takes_little_more_memory_than_the_model(tmp_path):
    model = noisy_model(n_layer=6, n_embd=512, vocab_size=5000)
    save_model(tmp_path, model)
    size, largest = (4 * f(p.size for p in model.parameters()) for f in (sum, max))
    tracemalloc.start()
    load_model(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.02 * size + 2 * largest


def test_a_loaded_model_draws_dropout_from_the_generator_it_was_given(tmp_path):
    save_model(tmp_path, noisy_model())
    rng = np.random.default_rng(7)
    model = load_model(tmp_path, rng=rng)
    holders = [module for _, module in model.named_modules() if hasattr(module, "rng")]
    assert len(holders) == 1 + 2 * 2 and all(module.rng is rng for module in holders)
    model.train()
    assert (logits(model) != logits(model)).any()


def trainings():
    """An untrained model of each kind; its objective; a batch: inputs, and targets last."""
    rng, next_ones = np.random.default_rng(0), (IDS[:, :-1], IDS[:, 1:])
    transformer_batch = transformer.SOURCE, transformer.TARGET, transformer.LABELS
    return {
        "gpt": (noisy_model(dropout=0.0), next_token, next_ones),
        "llama": (Llama(llama.SMALL, rng=rng), next_token, next_ones),
        "bert": (BertForMaskedLM(bert.SMALL, rng=rng), masked_token, (bert.IDS, bert.TARGETS)),
        "marian": (transformer.small_model(), next_target_token, transformer_batch),
    }


@pytest.mark.parametrize("kind", ["gpt", "llama", "bert", "marian"])
def test_a_loaded_model_goes_on_training_as_the_one_that_was_saved(kind, tmp_path):
    model, objective, batch = trainings()[kind]
    save_model(tmp_path, model)
    found = []
    for one in (model.train(), load_model(tmp_path).train()):
        optimizer, rng = AdamW(one.parameters()), np.random.default_rng(0)
        step = functools.partial(train_step, one, objective, optimizer, [batch], clip=1.0, rng=rng)
        found.append([step(lr=3e-3)[0] for _ in range(5)])
        assert all(np.any(p.grad) for n, p in one.named_parameters() if "in_proj.bias" not in n)
    assert found[0] == found[1] and found[0][-1] < found[0][0] - 0.01


def test_mutated_folders_open_or_give_the_one_error(tmp_path):
    save_model(tmp_path, noisy_model(n_layer=1))
    rng, opened = np.random.default_rng(2), 0
    for name, alphabet in [
        ("config.json", b'0123456789-.{}[]",:etrufalsn'),
        ("model.safetensors", bytes(range(256))),
    ]:
        whole = (tmp_path / name).read_bytes()
        for _ in range(300):
            data = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.2 else whole)
            for place in rng.integers(2500, size=rng.integers(1, 3)):
                data[place : place + 1] = bytes([rng.choice(list(alphabet))])
            (tmp_path / name).write_bytes(data)
            try:
                load_model(tmp_path)
                opened += 1
            except InputError as error:
                assert name in str(error)
        (tmp_path / name).write_bytes(whole)
    assert 50 < opened < 550


def test_a_second_save_replaces_the_first_and_leaves_nothing_else(tmp_path):
    save_model(tmp_path / "deep" / "run", noisy_model(bias=False))
    save_model(tmp_path / "deep" / "run", model := noisy_model(n_layer=1))
    np.testing.assert_array_equal(logits(load_model(tmp_path / "deep" / "run")), logits(model))
    assert sorted(os.listdir(tmp_path / "deep" / "run")) == ["config.json", "model.safetensors"]

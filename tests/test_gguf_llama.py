"""Llamas in GGUF files that are made here: rows moved back, blocks kept, other models refused."""

import dataclasses

import numpy as np
import pytest

from tests.gguf_files import STRING, Key, Tensor, gguf
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.gguf import open_gguf
from tinygrad_llm.formats.gguf_llama import LAYER, LlamaTensors, llama_config, load_llama
from tinygrad_llm.formats.gguf_tensors import KINDS
from tinygrad_llm.formats.llama import FAMILY
from tinygrad_llm.formats.weights import to_tensors
from tinygrad_llm.models.llama import Llama, LlamaConfig
from tinygrad_llm.tensor import no_grad

CONFIG = LlamaConfig(
    vocab_size=40,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    rope_theta=1000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
)
KEYS = {
    "general.architecture": (STRING, "llama"),
    "llama.block_count": (4, 2),
    "llama.context_length": (4, 32),
    "llama.embedding_length": (4, 64),
    "llama.feed_forward_length": (4, 96),
    "llama.attention.head_count": (4, 4),
    "llama.attention.head_count_kv": (4, 2),
    "llama.attention.layer_norm_rms_epsilon": (6, 1e-5),
    "llama.rope.freq_base": (6, 1000.0),
    "llama.rope.dimension_count": (4, 16),
}
IDS = np.random.default_rng(3).integers(40, size=(2, 20))


def random_model(**changes):
    return Llama(dataclasses.replace(CONFIG, **changes), rng=np.random.default_rng(0)).eval()


def neighbours(rows, heads):
    """Rows of each head as llama.cpp's converter leaves them: halves are interleaved."""
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return np.concatenate([np.stack([a, b], 1).reshape(-1, *rows.shape[1:]) for a, b in halves])


def encoded(array, kind):
    """(the number of the type, its bytes); 8-bit blocks with d = max / 127."""
    if kind == "F32":
        return 0, array.tobytes()
    if kind == "F16":
        return 1, array.astype(np.float16).tobytes()
    if kind == "BF16":
        return 30, (array.view(np.uint32) >> 16).astype("<u2").tobytes()
    rows = array.reshape(*array.shape[:-1], -1, 32)
    blocks = np.empty(rows.shape[:-1], KINDS["Q8_0"].dtype)
    blocks["d"] = np.abs(rows).max(-1) / 127
    scales = blocks["d"].astype(np.float32)[..., None]
    blocks["q"] = np.clip(np.rint(rows / scales), -128, 127)
    return 8, blocks.tobytes()


def tensors_of(model, kind="F32"):
    there = {ours: name for name, ours in LAYER.items()}
    ends = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
    for name, array in to_tensors(FAMILY, model).items():
        stem, _, end = name.removeprefix("model.").rpartition(".")
        if "q_proj" in stem:
            array = neighbours(array, model.config.num_attention_heads)
        elif "k_proj" in stem:
            array = neighbours(array, model.config.num_key_value_heads)
        if stem in ends:
            name = f"{ends[stem]}.{end}"
        else:
            _, layer, rest = stem.split(".", 2)
            name = f"blk.{layer}.{there[rest]}.{end}"
        number, data = encoded(np.ascontiguousarray(array), kind if array.ndim == 2 else "F32")
        yield Tensor(name, array.shape[::-1], number, data)


def write(tmp_path, model, kind="F32", change=lambda tensors: tensors, **keys):
    keys = {name.replace("__", "."): value for name, value in keys.items()}
    rows = [Key(name, *value) for name, value in (KEYS | keys).items() if value is not None]
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(rows, change(list(tensors_of(model, kind)))))
    return path


def load(path):
    with open_gguf(path) as file:
        return load_llama(file)


def logits(model):
    with no_grad():
        return model(IDS).data


@pytest.mark.parametrize(
    "variant",
    [{}, {"tie_word_embeddings": False}, {"attention_bias": True, "mlp_bias": True}],
    ids=str,
)
def test_the_model_that_was_written_is_read(variant, tmp_path):
    model = random_model(**variant)
    loaded = load(write(tmp_path, model))
    assert loaded.config == model.config and not loaded.training
    np.testing.assert_array_equal(logits(loaded), logits(model))


@pytest.mark.parametrize("kind, tolerance", [("F16", 1e-3), ("BF16", 8e-3), ("Q8_0", 8e-3)])
def test_shorter_formats_are_widened(kind, tolerance, tmp_path):
    model = random_model()
    loaded = load(write(tmp_path, model, kind))
    for (name, ours), theirs in zip(loaded.named_parameters(), model.parameters(), strict=True):
        assert ours.dtype == np.float32
        largest = np.abs(theirs.data).max()
        np.testing.assert_allclose(ours.data, theirs.data, atol=tolerance * largest, err_msg=name)


def test_rows_that_were_not_moved_back_would_give_other_logits(tmp_path, monkeypatch):
    path = write(tmp_path, random_model())
    right = logits(load(path))
    monkeypatch.setattr("tinygrad_llm.formats.gguf_llama._halves", lambda rows, heads: rows)
    assert np.abs(logits(load(path)) - right).max() > 1e-3


def test_blocks_can_be_had_as_they_are_stored_in_transformers_order(tmp_path):
    model = random_model()
    with open_gguf(write(tmp_path, model, "Q8_0")) as file:
        tensors = LlamaTensors(file, llama_config(file))
        stored = tensors.stored("layers.1.self_attn.q_proj.weight")
        assert stored.kind == "Q8_0" and stored.blocks.shape == (64, 2)
        q = model.layers[1].self_attn.in_proj.weight.data[:64]
        np.testing.assert_allclose(stored.dequantize(), q, atol=1e-3)
        assert tensors.entries.keys() == {slot.name for slot in FAMILY.slots(model.config)} - {
            "lm_head.weight"
        }


def test_a_model_that_was_read_can_be_trained_further(tmp_path):
    model = load(write(tmp_path, random_model(), "Q8_0"))
    model(IDS).sum().backward()
    assert all(p.grad.shape == p.shape for p in model.parameters())


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"general__architecture": (STRING, "qwen2")}, "general.architecture is 'qwen2'"),
        ({"general__architecture": None}, "general.architecture is None"),
        ({"llama__block_count": None}, "llama.block_count is missing"),
        ({"llama__block_count": (4, 3)}, "'layers.2.input_layernorm.weight' is missing"),
        ({"llama__block_count": (4, 2**32 - 1)}, "'layers.2.input_layernorm.weight' is missing"),
        ({"llama__block_count": (4, 1)}, "'layers.1.* has no place"),
        ({"llama__block_count": (6, 2.0)}, "num_hidden_layers = 2.0 is not of type int"),
        (
            {"llama__embedding_length": (4, 128), "llama__rope__dimension_count": None},
            "embed_tokens.weight has shape",
        ),
        ({"llama__embedding_length": (4, 0)}, "hidden_size is 0"),
        ({"llama__attention__head_count": (4, 7)}, "not divisible by 2 num_attention_heads"),
        ({"llama__attention__head_count": (9, [4, 4], 4)}, "head_count is an array"),
        ({"llama__rope__dimension_count": (4, 8)}, "rope.dimension_count is 8"),
        ({"llama__rope__scaling__type": (STRING, "yarn")}, "rope.scaling.type is 'yarn'"),
        ({"llama__rope__scaling__factor": (6, 4.0)}, "rope.scaling.factor is 4.0"),
        ({"llama__attention__sliding_window": (4, 4096)}, "attention.sliding_window is 4096"),
        ({"llama__rope__scaling__type": (4, 1)}, "rope.scaling.type is 1"),
        ({"llama__expert_count": (4, 8)}, "expert_count is 8"),
        ({"llama__rope__freq_base": (STRING, "x")}, "rope_theta = 'x' is not of type float"),
        ({"llama__attention__layer_norm_rms_epsilon": (6, float("nan"))}, "rms_norm_eps nan"),
    ],
    ids=str,
)
def test_other_models_are_refused_by_the_key(keys, message, tmp_path):
    path = write(tmp_path, random_model(), **keys)
    with pytest.raises(InputError, match=rf"model\.gguf: .*{message}"):
        load(path)


def test_a_mixture_that_has_one_expert_and_a_scale_of_1_are_the_plain_model(tmp_path):
    plain = {"llama__rope__scaling__type": (STRING, "none"), "llama__expert_count": (4, 0)}
    path = write(tmp_path, random_model(), **plain, llama__rope__scaling__factor=(6, 1.0))
    np.testing.assert_array_equal(logits(load(path)), logits(random_model()))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t[1:], "'token_embd.weight' is missing"),
        (lambda t: t[:-1], "'norm.weight' is missing"),
        (lambda t: [*t, t[0]._replace(name="blk.0.extra.weight")], "'blk.0.extra.weight' has no"),
        (lambda t: [*t, t[-1]._replace(name="rope_freqs.weight")], "'rope_freqs.weight' has no"),
        (lambda t: [*t, t[-1]._replace(name="norm.weight")], "'norm.weight' has no place"),
        (lambda t: [*t, t[1]._replace(name="blk.00.attn_norm.weight")], "has no place"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load(write(tmp_path, random_model(), change=change))

"""A step kept as a program: the bits of the ordinary way, whatever happens to the caches."""

import numpy as np
import pytest

from tinygrad_llm.finetuning.lora import add_lora
from tinygrad_llm.inference import decoder as decoder_file
from tinygrad_llm.inference.decoder import Decoder
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.models.llama import Llama, LlamaConfig
from tinygrad_llm.nn.quantized import quantize
from tinygrad_llm.tensor import watch
from tinygrad_llm.twins import reference

V, CONTEXT = 50, 90
GPT_SIZES = {"vocab_size": V, "n_positions": CONTEXT, "n_layer": 2, "n_head": 2, "n_embd": 128}
LLAMA_SIZES = {
    "vocab_size": V,
    "hidden_size": 192,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": CONTEXT,
}


def model_of(kind, **changes):
    rng = np.random.default_rng(0)
    if kind == "gpt":
        model = GPT(GPTConfig(**GPT_SIZES | changes), rng=rng)
    else:
        model = Llama(LlamaConfig(**LLAMA_SIZES | changes), rng=rng)
    for parameter in model.parameters():
        parameter.copy_(rng.standard_normal(parameter.shape, dtype=np.float32) * 0.1)
    return model.eval()


def read(decoder, ids, first):
    return [decoder.read(ids[:, :first])] + [
        decoder.read(ids[:, i : i + 1]) for i in range(first, ids.shape[1])
    ]


def ordinarily(model, ids, first, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(decoder_file, "can_be_kept", lambda: False)
        return read(Decoder(model), ids, first)


@pytest.mark.parametrize("bits", [None, "Q8_0", "Q4_1"])
@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_equals_the_ordinary_way_bit_for_bit(kind, bits, monkeypatch):
    """Past the memory that the caches begin with, and past the context."""
    model, ids = model_of(kind), np.random.default_rng(1).integers(V, size=(2, 120))
    if bits:
        quantize(model, bits)
    decoder = Decoder(model)
    found = read(decoder, ids, 3)
    assert decoder._step is not None
    np.testing.assert_array_equal(found, ordinarily(model, ids, 3, monkeypatch))


def test_heads_of_another_width(monkeypatch):
    """For these attention's other kernel is kept."""
    model, ids = model_of("gpt", n_head=16), np.random.default_rng(1).integers(V, size=(1, 80))
    found = read(Decoder(model), ids, 1)
    np.testing.assert_array_equal(found, ordinarily(model, ids, 1, monkeypatch))


def test_more_rows_and_more_tokens_at_once_in_between():
    model, ids = model_of("llama"), np.random.default_rng(1).integers(V, size=(2, 40))
    decoder = Decoder(model)
    read(decoder, ids[:, :10], 4)
    decoder.reorder(np.array([1, 0, 1]))
    ids = ids[[1, 0, 1]]
    for start, end in ((10, 11), (11, 15), (15, 16)):
        logits = decoder.read(ids[:, start:end])
        np.testing.assert_allclose(logits, model(ids[:, :end]).data[:, -1], atol=1e-5)


def test_logits_stay_what_they_were_when_the_next_token_is_read():
    decoder = Decoder(model_of("gpt"))
    decoder.read(np.array([[1, 2]]))
    first = decoder.read(np.array([[3]]))
    kept = first.copy()
    decoder.read(np.array([[4]]))
    np.testing.assert_array_equal(first, kept)


def test_whoever_watches_sees_every_operation_and_reference_means_numpy(monkeypatch):
    model, seen = model_of("gpt"), []
    monkeypatch.setattr(decoder_file, "Step", None)
    with watch(lambda op, *rest: seen.append(op.__name__)):
        read(Decoder(model), np.array([[1, 2, 3]]), 1)
    assert "scaled_dot_product_attention" in seen
    with reference():
        read(Decoder(model), np.array([[1, 2, 3]]), 1)
    with pytest.raises(TypeError):
        read(Decoder(model), np.array([[1, 2, 3]]), 1)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("up_proj",)])
def test_adapters_that_are_not_merged_are_no_program(targets, monkeypatch):
    """They are in part NumPy's work, which a program would not do again."""
    model, rng = model_of("llama"), np.random.default_rng(1)
    for parameter in add_lora(model, targets=targets, rng=rng):
        parameter.copy_(rng.standard_normal(parameter.shape, dtype=np.float32) * 0.1)
    ids, decoder = rng.integers(V, size=(2, 20)), Decoder(model)
    found = read(decoder, ids, 3)
    assert decoder._step is None
    np.testing.assert_array_equal(found, ordinarily(model, ids, 3, monkeypatch))

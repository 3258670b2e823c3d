"""Models with weights in blocks: what becomes blocks, folders, GGUF files, adapters beside them."""

import json

import numpy as np
import pytest

from tests.test_step import model_of
from tinygrad_llm import functional as F
from tinygrad_llm.blocks import Q8_0, is_blocks, widened
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import CONFIG, load_model, save_model
from tinygrad_llm.formats.sharded import WEIGHTS
from tinygrad_llm.inference.generate import generate
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.models import BertConfig, BertForMaskedLM
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.nn.quantized import memory_of, named_blocks, num_weights, quantize
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.tensor_files import load_tensors, save_tensors

IDS = np.random.default_rng(2).integers(50, size=(2, 40))
every_model = pytest.mark.parametrize("kind", ["gpt", "llama"])


@every_model
def test_matrices_become_blocks_and_the_rest_stays(kind):
    model = model_of(kind)
    count, before = model.num_parameters(), memory_of(model)
    assert quantize(model, "Q4_1") is model
    names = dict(named_blocks(model))
    tokens = "wte.weight" if kind == "gpt" else "embed_tokens.weight"
    assert names[tokens].dtype == Q8_0 and "wpe.weight" not in names
    assert all(p.ndim == 1 or name == "wpe.weight" for name, p in model.named_parameters())
    assert num_weights(model) == count and memory_of(model) < 0.35 * before
    if kind == "gpt":
        assert model.lm_head.weight is model.wte.weight


@every_model
@pytest.mark.parametrize("bits", ["Q8_0", "Q4_0", "Q4_1"])
def test_values_are_those_of_the_widened_weights(kind, bits):
    model = quantize(model_of(kind), bits)
    logits = model(IDS).data
    for _, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, np.ndarray):
            module.weight = Tensor(widened(weight))
    np.testing.assert_allclose(logits, model(IDS).data, atol=2e-5)


def bert():
    config = BertConfig(50, 32, 2, 2, 64, max_position_embeddings=40)
    return BertForMaskedLM(config, rng=np.random.default_rng(0)).eval()


def transformer(vocab_size=50):
    sizes = {"vocab_size": vocab_size, "d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    config = EncoderDecoderConfig(**sizes, encoder_layers=1, decoder_layers=1)
    return EncoderDecoder(config, rng=np.random.default_rng(0)).eval()


@pytest.mark.parametrize("build, ids", [(bert, (IDS,)), (transformer, (IDS, IDS[:, :9]))])
def test_models_that_read_from_both_sides_compute_with_blocks_too(build, ids, tmp_path):
    model = quantize(build(), "Q4_1")
    names = {name: blocks.dtype for name, blocks in named_blocks(model)}
    tables = [name for name in names if "embeddings" in name or "shared" in name]
    assert len(tables) == 1 and names[tables[0]] == Q8_0  # positions and segments are none
    logits = model(*ids).data
    save_model(tmp_path, model)
    np.testing.assert_array_equal(load_model(tmp_path)(*ids).data, logits)
    for _, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, np.ndarray):
            module.weight = Tensor(widened(weight))
    np.testing.assert_allclose(logits, model(*ids).data, atol=2e-5)


@every_model
def test_a_folder_holds_the_blocks(kind, tmp_path):
    model = quantize(model_of(kind), "Q4_1")
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert dict(named_blocks(again)).keys() == dict(named_blocks(model)).keys()
    np.testing.assert_array_equal(again(IDS).data, model(IDS).data)
    size = (tmp_path / "model.safetensors").stat().st_size
    assert memory_of(model) <= size < memory_of(model) + 20_000
    config = GenerationConfig(max_new_tokens=30, temperature=0)
    greedy = [np.array([*generate(m, IDS.tolist(), config)]) for m in (model, again)]
    np.testing.assert_array_equal(*greedy)
    uncached = np.array([*generate(model, IDS.tolist(), config, use_cache=False)])
    np.testing.assert_array_equal(greedy[0], uncached)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "Q5_0"}, "Q5_0"),
        ({"block_size": 64}, "blocks of 32"),
        ({"kind": "Q8_0"}, "no rows of blocks|has shape"),
        ({"quant_method": "gptq"}, "quantization_config|uint8|has shape"),
    ],
)
def test_a_scheme_that_does_not_fit_is_refused(change, message, tmp_path):
    save_model(tmp_path, quantize(model_of("llama"), "Q4_1"))
    document = json.loads((tmp_path / CONFIG).read_text())
    document["quantization_config"] |= change
    (tmp_path / CONFIG).write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_a_scheme_without_other_kinds_has_none(tmp_path):
    save_model(tmp_path, model := quantize(model_of("llama"), "Q8_0"))
    document = json.loads((tmp_path / CONFIG).read_text())
    del document["quantization_config"]["other_kinds"]
    (tmp_path / CONFIG).write_text(json.dumps(document))
    np.testing.assert_array_equal(load_model(tmp_path)(IDS).data, model(IDS).data)


def test_a_spare_tensor_may_be_blocks_of_zeros_alone(tmp_path):
    save_model(tmp_path, quantize(transformer(32), "Q8_0"))
    tensors, _ = load_tensors(tmp_path / WEIGHTS)
    spare = {"final_logits_bias": np.zeros((1, 34), np.uint8)}
    save_tensors(tmp_path / WEIGHTS, tensors | spare)
    load_model(tmp_path)
    spare["final_logits_bias"] += 1
    save_tensors(tmp_path / WEIGHTS, tensors | spare)
    with pytest.raises(InputError, match="final_logits_bias is not zero"):
        load_model(tmp_path)


def test_what_cannot_be_quantized_is_named_and_nothing_is_changed():
    model = model_of("gpt", n_embd=24, n_head=2)
    with pytest.raises(InputError, match="wte.weight: rows of 24 numbers"):
        quantize(model, "Q8_0")
    assert next(named_blocks(model), None) is None


def test_an_adapter_trains_beside_a_frozen_weight():
    """LoRA: y = x W^T + x A^T B^T, W in blocks; the layer below gets its gradient too."""
    rng = np.random.default_rng(0)
    model = quantize(model_of("llama"), "Q4_1")
    layer = model.layers[0].self_attn.out_proj
    a, b = (Tensor(rng.standard_normal(s) * 0.1, True) for s in ((4, 192), (192, 4)))
    forward = type(layer).onto
    layer.onto = lambda residual, x, p, rng: F.linear_residual(
        F.linear(x, a), b, None, forward(layer, residual, x, p, rng), p, rng, False
    )
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(model(IDS[:, :-1]), IDS[:, 1:])
        loss.backward()
        losses.append(loss.item())
        for adapter in (a, b):
            adapter.copy_(adapter.data - 0.5 * adapter.grad)
            adapter.grad = None
    assert losses[2] < losses[1] < losses[0]
    assert is_blocks(layer.weight)

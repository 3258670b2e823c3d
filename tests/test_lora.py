"""LoRA: the formula, its gradients beside PyTorch's, merging, and what stays frozen."""

import dataclasses

import numpy as np
import pytest

from tests.test_bert import SMALL as BERT
from tests.test_llama import SMALL as LLAMA
from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.lora import (
    TARGETS,
    add_lora,
    folded,
    lora_layers,
    merge,
    num_trained,
    remove_lora,
    unmerge,
)
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.models.bert import Bert, BertForMaskedLM
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.models.llama import Llama
from tinygrad_llm.nn import Linear
from tinygrad_llm.nn.quantized import named_blocks, quantize
from tinygrad_llm.tensor import Tensor, no_grad, watch
from tinygrad_llm.training.optimizer import AdamW

GPT2 = GPTConfig(
    vocab_size=31, n_positions=16, n_layer=2, n_head=4, n_embd=24, initializer_range=0.2
)
IDS = np.random.default_rng(5).integers(31, size=(3, 12))
FAMILIES = {"llama": (Llama, LLAMA), "gpt2": (GPT, GPT2), "bert": (BertForMaskedLM, BERT)}
EVERYWHERE = {
    "llama": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "bert": ("query", "key", "value", "dense"),
}


def base(kind, **changes):
    cls, config = FAMILIES[kind]
    return cls(dataclasses.replace(config, **changes), rng=np.random.default_rng(1)).eval()


def adapted(kind, targets=None, **settings):
    """A model whose adapters are as if they had learned something."""
    model, rng = base(kind), np.random.default_rng(2)
    for parameter in add_lora(model, targets=targets, rng=rng, **settings):
        noise = rng.standard_normal(parameter.shape, dtype=np.float32)
        parameter.copy_(parameter.data + 0.1 * noise)
    return model


def outputs(model):
    with no_grad():
        return model(IDS).data


@pytest.fixture(params=FAMILIES)
def kind(request):
    return request.param


def test_folded_is_plain_for_a_while_and_leaves_every_bit(kind):
    model = adapted(kind)
    wanted, before = outputs(model), {n: a.copy() for n, a in model.state_dict().items()}
    with folded(model):
        assert not any(lora_layers(model))
        np.testing.assert_allclose(outputs(model), wanted, rtol=1e-4, atol=1e-5)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[name], before[name]) for name in before)
    np.testing.assert_array_equal(outputs(model), wanted)


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_fresh_adapter_changes_nothing_and_a_learned_one_is_the_formula(kind, everywhere):
    """W + (alpha / r) B A in the rows of each target, worked out beside it with whole matrices."""
    targets = EVERYWHERE[kind] if everywhere else None
    model, plain = base(kind), base(kind)
    add_lora(model, targets=targets, rng=np.random.default_rng(2))
    np.testing.assert_allclose(outputs(model), outputs(plain), rtol=1e-5, atol=1e-5)
    model, modules = adapted(kind, targets, rank=4, alpha=6.0), dict(plain.named_modules())
    for path, layer in lora_layers(model):
        weight = modules[path].weight.data.copy()
        for a in layer.adapters:
            change = 6.0 / 4 * a.lora_B.data @ a.lora_A.data
            weight[a.first : a.first + a.rows] += change
        modules[path].weight.copy_(weight)
    assert np.abs(outputs(model) - outputs(base(kind))).max() > 1e-2
    np.testing.assert_allclose(outputs(model), outputs(plain), rtol=1e-4, atol=1e-5)


def test_merged_is_unmerged(kind):
    model = adapted(kind, EVERYWHERE[kind])
    apart = outputs(model)
    merge(model)
    merge(model)  # a second time changes nothing
    np.testing.assert_allclose(outputs(model), apart, rtol=1e-5, atol=1e-5)
    unmerge(model)
    np.testing.assert_allclose(outputs(model), apart, rtol=1e-5, atol=1e-5)
    merge(model)
    remove_lora(model)
    assert not list(lora_layers(model))
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in base(kind).named_parameters()]
    np.testing.assert_allclose(outputs(model), apart, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", ["Q8_0", "Q4_1"])
def test_adapters_beside_weights_in_blocks(bits):
    """They train, alone; merged is unmerged; and the blocks come back as they were."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    model = quantize(base("llama", **sizes), bits)
    stored, plain = dict(named_blocks(model)), outputs(model)
    parameters = add_lora(model, targets=EVERYWHERE["llama"], rng=np.random.default_rng(2))
    np.testing.assert_allclose(outputs(model), plain, rtol=1e-5, atol=1e-5)
    optimizer, losses = AdamW(parameters), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step(0.02)
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    apart = outputs(model)
    merge(model)
    np.testing.assert_allclose(outputs(model), apart, rtol=1e-5, atol=1e-5)
    unmerge(model)
    np.testing.assert_array_equal(outputs(model), apart)
    remove_lora(model)
    assert all(blocks is stored[name] for name, blocks in named_blocks(model))


def loss_of(model):
    logits = model(IDS)
    return F.cross_entropy(logits, np.roll(IDS, 1))


def test_only_adapters_have_gradients_and_they_are_those_of_the_whole_matrix(kind):
    """With W' = W + s B A: dB = s dW' A^T and dA = s B^T dW', from a plain model that holds W'."""
    model, plain = adapted(kind, EVERYWHERE[kind]), adapted(kind, EVERYWHERE[kind])
    merge(plain)
    remove_lora(plain)
    plain.requires_grad_()
    for one in (model, plain):
        loss_of(one).backward()
    modules = dict(plain.named_modules())
    for path, layer in lora_layers(model):
        for a in layer.adapters:
            dw = modules[path].weight.grad[a.first : a.first + a.rows]
            db, da = layer.scale * dw @ a.lora_A.data.T, layer.scale * a.lora_B.data.T @ dw
            np.testing.assert_allclose(a.lora_B.grad, db, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(a.lora_A.grad, da, rtol=1e-3, atol=1e-5)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == ("lora_" in name), name


def test_one_layer_beside_torch_with_a_fused_projection():
    """y = x W^T + s x A^T B^T in PyTorch, for two adapters that leave rows between them alone."""
    torch = pytest.importorskip("torch", reason="pip install torch")
    model = adapted("llama", rank=3, alpha=5.0)
    layer = model.layers[0].self_attn.in_proj
    x = Tensor(np.random.default_rng(3).standard_normal((2, 5, 24), dtype=np.float32), True)
    y = layer(x)
    dy = np.random.default_rng(4).standard_normal(y.shape, dtype=np.float32)
    y.backward(dy)
    tx = torch.tensor(x.data, requires_grad=True)
    parts = [(a, *(torch.tensor(p.data, requires_grad=True) for p in (a.lora_A, a.lora_B)))
             for a in layer.adapters]
    ty = tx @ torch.tensor(layer.base.weight.data).T
    for a, ta, tb in parts:
        wide = torch.nn.functional.pad(tx @ ta.T @ tb.T * 5 / 3,
                                       (a.first, y.shape[-1] - a.first - a.rows))
        ty = ty + wide
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(y.data, ty.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x.grad, tx.grad, rtol=1e-5, atol=1e-5)
    for a, ta, tb in parts:
        np.testing.assert_allclose(a.lora_A.grad, ta.grad, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(a.lora_B.grad, tb.grad, rtol=1e-5, atol=1e-5)
    assert [a.first for a, *_ in parts] == [0, 24 + 8]  # q, and v behind k's two heads


def test_no_product_as_wide_as_a_weight_is_made(kind):
    """Neither W + B A nor dW: nothing on the tape has the shape of an adapted weight."""
    model, shapes = adapted(kind).train(), set()
    weights = {layer.base.weight.shape for _, layer in lora_layers(model)}
    with watch(lambda op, args, settings, outs: shapes.update(y.shape for y in outs)):
        loss_of(model).backward()
    assert not shapes & weights
    assert all(layer.base.weight.grad is None for _, layer in lora_layers(model))


def test_training_moves_the_adapters_alone(kind):
    model = base(kind)
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    parameters = add_lora(model, rank=2, rng=np.random.default_rng(2))
    optimizer = AdamW(parameters)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step(0.03)
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3
    remove_lora(model)
    for name, p in model.named_parameters():
        assert np.array_equal(p.data, before[name]), name


def test_dropout_acts_on_what_the_adapter_reads_in_training_alone(kind):
    model = adapted(kind, dropout=0.5)
    still = outputs(model)
    assert np.array_equal(still, outputs(model))
    model.train()
    assert not np.array_equal(outputs(model), outputs(model))
    merge(model)
    model.eval()
    np.testing.assert_allclose(outputs(model), still, rtol=1e-5, atol=1e-5)


def test_a_branch_ends_with_dropout_of_the_sum():
    """onto with p: what is kept of y is y / (1 - p), the adapter's part with it."""
    model = adapted("gpt2", ("c_proj",)).train()
    layer, rng = model.h[0].mlp.c_proj, np.random.default_rng(0)
    x = Tensor(rng.standard_normal((50, 96), dtype=np.float32))
    residual = Tensor(np.zeros((50, 24), np.float32))
    dropped = layer.onto(residual, x, 0.25, rng).data
    kept = dropped != 0
    assert 0.6 < kept.mean() < 0.9
    np.testing.assert_allclose(dropped[kept], layer(x).data[kept] / 0.75, rtol=1e-5)


def test_smollm2s_default_adapters_train_under_five_percent():
    """One block of its 30, as large as they are: r (in + out) for q (576, 576) and v (576, 192)."""
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3}
    sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 1, **heads}
    model = base("llama", tie_word_embeddings=True, **sizes)
    block = model.layers[0].num_parameters()
    assert 30 * block + 49_152 * 576 + 576 == 134_515_008
    parameters = add_lora(model, rng=np.random.default_rng(0))
    assert num_trained(model) == sum(p.size for p in parameters) == 8 * (576 + 576 + 576 + 192)
    assert 30 * num_trained(model) < 0.05 * 134_515_008


def test_default_targets_are_pefts():
    mapping = pytest.importorskip("peft.utils.constants", reason="pip install --no-deps peft")
    for model_type, targets in TARGETS.items():
        assert set(mapping.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING[model_type]) == set(
            targets
        )


def test_what_cannot_be():
    rng = np.random.default_rng(0)
    for settings, message in (
        ({"rank": 0}, "rank 0"),
        ({"alpha": 0.0}, "alpha 0"),
        ({"dropout": 1.0}, "dropout 1"),
        ({"targets": ("q_prj",)}, "did you mean 'q_proj'"),
        ({"targets": ("lm_head",)}, "unknown target 'lm_head'"),
        ({"targets": ()}, "no targets"),
    ):
        with pytest.raises(InputError, match=message):
            add_lora(base("llama"), rng=rng, **settings)
    model = adapted("llama")
    with pytest.raises(InputError, match="adapters already"):
        add_lora(model, rng=rng)
    with pytest.raises(InputError, match="no Hugging Face format"):
        add_lora(Linear(2, 2, rng=rng), rng=rng)


def test_a_model_with_adapters_is_not_saved_without_them(tmp_path):
    with pytest.raises(InputError, match="in_proj.weight is hidden by an adapter"):
        save_model(tmp_path, adapted("llama"))


def test_layers_that_are_not_plain_take_the_long_way(kind):
    """A Linear of another class computes the same, step by step instead of fused."""
    class Other(Linear):
        pass

    model, plain = base(kind), base(kind)
    for _, module in model.named_modules():
        if type(module) is Linear and module.weight.shape[0] != 31:
            module.__class__ = Other
    seen = set()
    with watch(lambda op, *rest: seen.add(op.__name__)):
        long = model(IDS)
    assert not seen & {"swiglu", "feed_forward"}
    np.testing.assert_allclose(long.data, outputs(plain), rtol=1e-5, atol=1e-5)


def test_the_pooler_of_a_bare_bert():
    model = Bert(BERT, rng=np.random.default_rng(0))
    add_lora(model, targets=("pooler.dense",), rng=np.random.default_rng(0))
    assert [path for path, _ in lora_layers(model)] == ["pooler"]

"""The classifier as a model: what is padded or frozen changes no score and no gradient."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.models import Bert, BertConfig, GPT, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.models.classifier import Classifier

LABELS = "ham", "spam", "eggs"
V, CONTEXT, WIDTH, LAYERS = 17, 12, 8, 3
BERT = BertConfig(V, WIDTH, LAYERS, 2, 16, CONTEXT, initializer_range=0.3)


def rng(seed=0):
    return np.random.default_rng(seed)


def gpt():
    return GPT(GPTConfig(V, CONTEXT, LAYERS, 2, WIDTH, initializer_range=0.3), rng=rng())


def llama():
    sizes = {"num_hidden_layers": LAYERS, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(
        vocab_size=V,
        hidden_size=WIDTH,
        intermediate_size=16,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        **sizes,
    )
    return Llama(config, rng=rng())


MODELS = {
    "gpt": gpt,
    "llama": llama,
    "bert": lambda: Bert(BERT, rng=rng()),
    "wrap": lambda trunk: Classifier(trunk, LABELS, rng=rng(1)),
}
KINDS = ["gpt", "llama", "bert"]


def classifier(kind, pooling=None):
    model = Classifier(MODELS[kind](), LABELS, pooling=pooling, rng=rng(1))
    model.score.weight.copy_(rng(2).standard_normal(model.score.weight.shape))
    return model


def texts(rows=4, seed=3):
    """Ids (B, T), never 0, with junk behind each text, and the lengths."""
    lengths = rng(seed).integers(1, 8, rows)
    return rng(seed + 1).integers(1, V, (rows, lengths.max())), lengths


@pytest.mark.parametrize("kind,pooling", [*((k, None) for k in KINDS), ("bert", "cls")])
def test_padding_says_nothing(kind, pooling):
    model = classifier(kind, pooling=pooling).eval()
    ids, lengths = texts()
    wider = np.concatenate([ids, rng(9).integers(1, V, (4, 3))], axis=1)
    found = model(ids, lengths).data
    np.testing.assert_allclose(model(wider, lengths).data, found, rtol=0, atol=1e-5)
    for i, length in enumerate(lengths):
        alone = model(ids[i : i + 1, :length], lengths[i : i + 1]).data[0]
        np.testing.assert_allclose(alone, found[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize("frozen", range(LAYERS + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_below_and_above_are_the_whole_and_what_is_frozen_gets_no_gradient(kind, frozen):
    ids, lengths = texts()
    whole = classifier(kind).eval()(ids, lengths).data
    model = classifier(kind).freeze(frozen).eval()
    kept = model.below(ids, lengths).data
    assert kept.shape == ((4, WIDTH) if frozen == LAYERS else (*ids.shape, WIDTH))
    np.testing.assert_array_equal(model(kept, lengths).data, whole)
    model(ids, lengths).sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    blocks = {int(name.split(".")[2]) for name in with_gradient if name.count(".") > 3}
    assert blocks == set(range(frozen, LAYERS))
    embedded = any("emb" in name or "wte" in name for name in with_gradient)
    assert embedded == (frozen == 0)
    assert all(p.requires_grad == (n in with_gradient) for n, p in model.named_parameters())


def test_frozen_parts_stay_in_evaluation_mode():
    model = classifier("bert").freeze(2).train()
    states = {name: module.training for name, module in model.named_modules()}
    assert not states["trunk.embeddings.drop"] and not states["trunk.layers.1.attention"]
    assert states["trunk.layers.2.attention"] and states["drop"]
    ids, lengths = texts()
    np.testing.assert_array_equal(model.below(ids, lengths).data, model.below(ids, lengths).data)
    assert np.any(model(ids, lengths).data != model(ids, lengths).data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_no_tokens_gives_numbers_and_no_gradient(kind):
    model, (ids, lengths) = classifier(kind).eval(), texts()
    (model(ids, lengths)[1:]).sum().backward()
    wanted = {name: p.grad.copy() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    lengths[0] = 0
    scores = model(ids, lengths)
    assert np.isfinite(scores.data).all()
    scores[1:].sum().backward()
    for name, p in model.named_parameters():
        if name in wanted:
            np.testing.assert_allclose(p.grad, wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_refusals():
    with pytest.raises(InputError, match="a GPT is not pooled by 'mean'; there is last"):
        classifier("gpt", pooling="mean")
    with pytest.raises(InputError, match="4 blocks cannot be frozen; the model has 3"):
        classifier("gpt").freeze(4)

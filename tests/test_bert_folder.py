"""BERT's folders beside transformers in both directions: with and without the head and pooler."""

import dataclasses
import json

import numpy as np
import pytest

from tests.test_bert import IDS, SEGMENTS, SMALL, TARGETS
from tests.test_llama_folder import transformers  # noqa: F401
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.bert import SIZES, from_config, to_config
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.models.bert import Bert, BertForMaskedLM
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.tensor_files import load_tensors, save_tensors
from tinygrad_llm.training.masking import masked_token

MASK = (np.arange(8) < np.array([[8], [5], [3]])).astype(int)
REFUSED = {
    "hidden_act": "gelu_new",
    "position_embedding_type": "relative_key",
    "tie_word_embeddings": False,
    "is_decoder": True,
    "add_cross_attention": True,
    "quantization_config": {"bits": 4},
    "num_attention_heads": 5,
    "vocab_size": "31",
    "hidden_dropout_prob": None,
    "layer_norm_eps": 0,
}


def noisy_model(kind, **parts):
    rng = np.random.default_rng(1)
    model = kind(SMALL, rng=rng, **parts)
    for parameter in model.parameters():
        noise = rng.standard_normal(parameter.shape, dtype=np.float32)
        parameter.copy_(parameter.data + 0.2 * noise)
    return model.eval()


def output(model):
    with no_grad():
        return model(IDS, attention_mask=MASK, token_type_ids=SEGMENTS).data


def theirs_output(model):
    import torch

    ids, mask, segments = map(torch.tensor, (IDS, MASK, SEGMENTS))
    with torch.no_grad():
        return model.eval()(ids, attention_mask=mask, token_type_ids=segments)


def assert_close_at_tokens(ours, theirs):
    """Within 1e-4 wherever there is a token; the states of padding mean nothing."""
    np.testing.assert_allclose(ours[MASK == 1], theirs.numpy()[MASK == 1], atol=1e-4)


@pytest.mark.parametrize("pooler", [True, False])
def test_the_bare_model_in_both_directions(pooler, transformers, tmp_path):  # noqa: F811
    model = noisy_model(Bert, pooler=pooler)
    save_model(tmp_path / "ours", model)
    theirs, report = transformers.BertModel.from_pretrained(
        tmp_path / "ours", add_pooling_layer=pooler, output_loading_info=True
    )
    assert not any(report.values()), report
    found = theirs_output(theirs)
    assert_close_at_tokens(output(model), found.last_hidden_state)
    if pooler:
        hidden = model(IDS, attention_mask=MASK, token_type_ids=SEGMENTS)
        pooled = model.pooled(hidden).data
        np.testing.assert_allclose(pooled, found.pooler_output.numpy(), atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    assert type(again) is Bert and (again.pooler is not None) == pooler
    np.testing.assert_array_equal(output(again), output(model))


def test_the_masked_language_model_in_both_directions(transformers, tmp_path):  # noqa: F811
    model = noisy_model(BertForMaskedLM)
    save_model(tmp_path / "ours", model)
    theirs, report = transformers.BertForMaskedLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report.values()), report
    assert_close_at_tokens(output(model), theirs_output(theirs).logits)
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    assert type(again) is BertForMaskedLM and again.config == model.config and not again.training
    np.testing.assert_array_equal(output(again), output(model))


def test_loss_and_gradients_are_those_of_transformers(transformers, tmp_path):  # noqa: F811
    import torch

    model = noisy_model(BertForMaskedLM)
    save_model(tmp_path, model)
    theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path)
    targets = np.where(MASK == 1, TARGETS, -100)
    loss = masked_token(model, IDS, targets, MASK, SEGMENTS)
    loss.total.backward()
    ids, mask, segments, labels = map(torch.tensor, (IDS, MASK, SEGMENTS, targets))
    found = theirs(ids, attention_mask=mask, token_type_ids=segments, labels=labels).loss
    found.backward()
    assert loss.total.item() / loss.tokens == pytest.approx(found.item(), rel=1e-5)
    embedding = theirs.bert.embeddings.word_embeddings.weight.grad.numpy() * loss.tokens
    own = model.embeddings.word_embeddings.weight.grad
    np.testing.assert_allclose(own, embedding, atol=1e-4)


def test_pretraining_files_are_read_without_the_next_sentence_head(
    transformers,  # noqa: F811
    tmp_path,
):
    config = transformers.BertConfig(**dataclasses.asdict(SMALL))
    theirs = transformers.BertForPreTraining(config)
    theirs.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert type(model) is BertForMaskedLM and model.pooler is not None
    assert_close_at_tokens(output(model), theirs_output(theirs).prediction_logits)


def test_tied_weights_are_stored_once(tmp_path):
    save_model(tmp_path, model := noisy_model(BertForMaskedLM))
    tensors, _ = load_tensors(tmp_path / "model.safetensors")
    assert sum(x.size for x in tensors.values()) == model.num_parameters()


def rewrite(folder, change):
    tensors, metadata = load_tensors(folder / "model.safetensors")
    save_tensors(folder / "model.safetensors", change(tensors), metadata)


def test_names_of_old_files_and_buffers_are_known(tmp_path):
    save_model(tmp_path, model := noisy_model(Bert))

    def older(tensors):
        names = {
            name.removeprefix("bert.")
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta"): array
            for name, array in tensors.items()
        }
        return names | {"embeddings.position_ids": np.arange(16)[None]}

    rewrite(tmp_path, older)
    np.testing.assert_array_equal(output(load_model(tmp_path)), output(model))


def test_half_a_head_is_refused_and_a_copy_that_differs_too(tmp_path):
    save_model(tmp_path, noisy_model(BertForMaskedLM))
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    name = "cls.predictions.transform.dense.bias"
    rewrite(tmp_path, lambda t: {n: x for n, x in t.items() if n != name})
    with pytest.raises(InputError, match="transform.dense.bias' is missing"):
        load_model(tmp_path)
    path.write_bytes(whole)
    rewrite(tmp_path, lambda t: t | {"cls.predictions.decoder.bias": np.ones(31, np.float32)})
    with pytest.raises(InputError, match="decoder.bias is not equal to head.decoder.bias"):
        load_model(tmp_path)


def test_a_head_that_is_not_implemented_is_refused_by_name(tmp_path):
    save_model(tmp_path, noisy_model(Bert))
    rewrite(tmp_path, lambda t: t | {"classifier.weight": np.ones((2, 24), np.float32)})
    with pytest.raises(InputError, match="'classifier.weight' has no place"):
        load_model(tmp_path)


def test_a_configuration_comes_back_from_its_document():
    assert from_config(json.loads(json.dumps(to_config(SMALL)))) == SMALL


@pytest.mark.parametrize("key", REFUSED)
def test_what_bert_computes_differently_is_refused_by_name(key):
    with pytest.raises(InputError, match=key):
        from_config(to_config(SMALL) | {key: REFUSED[key]})


@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_is_missing_is_not_guessed(key):
    document = to_config(SMALL)
    del document[key]
    with pytest.raises(InputError, match=key):
        from_config(document)

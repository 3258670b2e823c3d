"""BERT: padding that changes nothing, both sides seen, segments, and the masked-token objective."""

import dataclasses

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.models.bert import Bert, BertConfig, BertForMaskedLM
from tinygrad_llm.tensor import no_grad, watch
from tinygrad_llm.training.masking import masked_token

SMALL = BertConfig(
    vocab_size=31,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=16,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.3,
)
RNG = np.random.default_rng(5)
IDS = RNG.integers(1, 31, size=(3, 8))
TARGETS = np.where(RNG.random(IDS.shape) < 0.5, IDS, -100)
SEGMENTS = np.repeat([[0] * 5 + [1] * 3], 3, axis=0)


def small_model(model=BertForMaskedLM, **changes):
    return model(dataclasses.replace(SMALL, **changes), rng=np.random.default_rng(1))


def padded(array, n, value):
    return np.pad(array, ((0, 0), (0, n)), constant_values=value)


def test_parameters_of_bert_base():
    """Embeddings (30,522 + 512 + 2 + 2) * 768, the pooler 769 * 768, and a layer: attention
    4 * 769 * 768, MLP 769 * 3,072 + 3,073 * 768, norms 4 * 768.
    """
    one, two = (
        Bert(
            BertConfig(vocab_size=1, num_hidden_layers=n), rng=np.random.default_rng(0)
        ).num_parameters()
        for n in (1, 2)
    )
    assert two - one == 7_087_872
    assert one + 11 * (two - one) + 30_521 * 768 == 109_482_240


@pytest.mark.parametrize("more", [1, 3, 8])
@pytest.mark.parametrize("junk", [0, 17])
def test_padding_changes_neither_loss_nor_gradient(more, junk):
    model, found = small_model(), []
    for n in (0, more):
        model.zero_grad()
        mask = padded(np.ones(IDS.shape, int), n, 0)
        targets, segments = padded(TARGETS, n, -100), padded(SEGMENTS, n, 1)
        loss = masked_token(model, padded(IDS, n, junk), targets, mask, segments)
        loss.total.backward()
        found.append((loss.total.item(), {k: p.grad for k, p in model.named_parameters()}))
    (loss, gradients), (padded_loss, padded_gradients) = found
    assert padded_loss == pytest.approx(loss, rel=1e-6)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(padded_gradients[name], gradient, atol=2e-5, err_msg=name)


def test_texts_of_a_padded_batch_are_those_they_would_be_alone():
    model = small_model(Bert)
    lengths = [8, 3, 5]
    mask = np.arange(8) < np.array(lengths)[:, None]
    with no_grad():
        together = model(IDS, attention_mask=mask)
        for row, length in enumerate(lengths):
            alone = model(IDS[row : row + 1, :length])
            np.testing.assert_allclose(together.data[row, :length], alone.data[0], atol=1e-5)
            pooled = model.pooled(together).data[row]
            np.testing.assert_allclose(pooled, model.pooled(alone).data[0], atol=1e-5)


def test_without_the_mask_padding_would_count():
    model = small_model(Bert)
    assert np.abs(model(padded(IDS, 3, 0)).data[:, :8] - model(IDS).data).max() > 1e-3


def test_every_place_sees_both_sides_and_the_segment():
    model = small_model(Bert)
    before = model(IDS).data
    changed = IDS.copy()
    changed[:, 4] = 30 - changed[:, 4]
    assert (np.abs(model(changed).data - before).max(axis=(0, 2)) > 0).all()
    assert np.abs(model(IDS, token_type_ids=SEGMENTS).data - before).max() > 1e-3


def test_scores_at_the_chosen_places_alone_give_the_loss_of_all_scores():
    model = small_model()
    loss = masked_token(model, IDS, TARGETS)
    whole = F.cross_entropy(model(IDS), TARGETS, reduction="sum")
    assert loss.total.item() == pytest.approx(whole.item(), rel=1e-5)
    assert loss.tokens == np.count_nonzero(TARGETS != -100)


def test_the_head_ends_in_the_embedding():
    model = small_model()
    assert model.head.decoder.weight is model.embeddings.word_embeddings.weight
    head = 24 * 24 + 24 + 2 * 24 + 31
    without_pooler = small_model(Bert).num_parameters() - (24 * 24 + 24)
    assert model.num_parameters() == without_pooler + head


def test_the_pooled_state_is_of_the_first_token():
    model = small_model(Bert)
    hidden = model(IDS)
    by_hand = np.tanh(hidden.data[:, 0] @ model.pooler.weight.data.T + model.pooler.bias.data)
    np.testing.assert_allclose(model.pooled(hidden).data, by_hand, atol=1e-5)
    with pytest.raises(InputError, match="no pooler"):
        small_model().pooled(hidden)


def test_dropout_is_on_in_training_alone():
    model = small_model(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
    before = model.eval()(IDS).data
    assert (model.train()(IDS).data != before).any()
    np.testing.assert_array_equal(model.eval()(IDS).data, before)


def test_attention_and_branches_drop_by_their_own_probabilities():
    changes = {"attention_probs_dropout_prob": 0.25, "hidden_dropout_prob": 0.5}
    dropped = {}

    def note(op, operands, settings, outputs):
        dropped[op.__name__] = settings.get("dropout_p", 0)

    with watch(note):
        small_model(**changes).train()(np.zeros((1, 4), int))
    branches = dropped["linear_residual"], dropped["feed_forward"]
    assert dropped["scaled_dot_product_attention"] == 0.25 and branches == (0.5, 0.5)


def test_input_that_does_not_fit_is_refused():
    model = small_model()
    with pytest.raises(InputError, match="17 tokens are more than the model's context of 16"):
        model(np.zeros((1, 17), int))
    with pytest.raises(InputError, match=r"attention_mask has shape \(3,\), but the ids \(3, 8\)"):
        model(IDS, attention_mask=np.ones(3))
    with pytest.raises(ValueError, match="id 2 is outside the 2 rows"):
        model(IDS, token_type_ids=SEGMENTS + 1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"type_vocab_size": 0}, "type_vocab_size is 0"),
        ({"hidden_size": 25}, "hidden_size 25 is not divisible by num_attention_heads 4"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob 1.0"),
        ({"attention_probs_dropout_prob": -0.1}, "attention_probs_dropout_prob -0.1"),
        ({"initializer_range": 1e308}, "initializer_range 1e\\+308 is not in"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps 0.0"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_with_its_numbers(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **change)

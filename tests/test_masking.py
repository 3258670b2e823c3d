"""The 80/10/10 rule in numbers, and what is never chosen."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.models.bert import BertConfig, BertForMaskedLM
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.masking import Masking, mask_tokens, masked_token
from tinygrad_llm.training.optimizer import AdamW

SIZE, MASK, PAD = 1000, 3, 0


def masked(ids, seed=0, **settings):
    rng = np.random.default_rng(seed)
    return mask_tokens(ids, rng, mask_id=MASK, vocab_size=SIZE, special_ids=(PAD, 1, 2), **settings)


def test_shares_are_those_of_the_paper():
    ids = np.random.default_rng(1).integers(4, SIZE, size=(400, 500))
    inputs, targets = masked(ids)
    chosen = targets != -100
    n = chosen.sum()
    assert abs(chosen.mean() - 0.15) < 0.005
    assert abs((inputs[chosen] == MASK).sum() / n - 0.8) < 0.01
    assert abs((inputs[chosen] == ids[chosen]).sum() / n - 0.1) < 0.01
    others = inputs[chosen & (inputs != MASK) & (inputs != ids)]
    assert abs(len(others) / n - 0.1) < 0.01
    assert len(np.unique(others)) > 0.8 * SIZE


def test_targets_are_the_tokens_and_the_rest_stays():
    ids = np.random.default_rng(1).integers(4, SIZE, size=(20, 30))
    inputs, targets = masked(ids, probability=0.5)
    chosen = targets != -100
    np.testing.assert_array_equal(targets[chosen], ids[chosen])
    np.testing.assert_array_equal(inputs[~chosen], ids[~chosen])


def test_special_tokens_and_padding_are_never_chosen():
    ids = np.random.default_rng(1).integers(0, 6, size=(50, 50))
    inputs, targets = masked(ids, probability=1.0)
    np.testing.assert_array_equal(targets != -100, ids > 2)
    np.testing.assert_array_equal(inputs[ids <= 2], ids[ids <= 2])


def test_the_same_generator_gives_the_same_masks():
    ids = np.full((5, 40), 7)
    for first, second in zip(masked(ids), masked(ids), strict=True):
        np.testing.assert_array_equal(first, second)
    assert any((a != b).any() for a, b in zip(masked(ids), masked(ids, seed=1), strict=True))


@pytest.mark.parametrize("probability", [0.0, 1.1, float("nan")])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises(InputError, match="masking probability"):
        masked(np.ones((1, 1), int), probability=probability)


def test_a_batch_without_a_chosen_token_has_no_loss():
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = BertForMaskedLM(config, rng=np.random.default_rng(0))
    loss = masked_token(model, np.ones((2, 3), int), np.full((2, 3), -100))
    assert loss.tokens == 0 and loss.total.item() == 0
    loss.total.backward()


def test_fifteen_steps_beside_transformers(tmp_path):
    """Equal weights, places and optimizer: equal losses, one after the other."""
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sizes = {"vocab_size": 30, "max_position_embeddings": 12, "num_attention_heads": 2}
    drop = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(hidden_size=16, num_hidden_layers=2, intermediate_size=32, **sizes, **drop)
    model = BertForMaskedLM(config, rng=np.random.default_rng(0))
    save_model(tmp_path, model)
    peer = transformers.BertForMaskedLM.from_pretrained(tmp_path).train()
    optimizer, rng = AdamW(model.parameters()), np.random.default_rng(1)
    groups = [
        {"params": [p for p in peer.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in peer.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.99))
    ids = rng.integers(4, 30, size=(8, 12))
    for _ in range(15):
        inputs, targets = Masking(MASK, 30).hide(ids, rng)
        loss = peer(input_ids=torch.tensor(inputs), labels=torch.tensor(targets)).loss
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        part = [(inputs, targets)]
        mine, *_ = train_step(model, masked_token, optimizer, part, lr=3e-3, clip=0, rng=rng)
        assert mine == pytest.approx(loss.item(), rel=1e-4)

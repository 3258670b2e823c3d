"""DPO: the formula beside PyTorch's, where it starts, and what it moves."""

import math

import numpy as np
import pytest

from tests.test_instructions import assert_same, examples, loss_and_gradient, model
from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.instructions import pad
from tinygrad_llm.finetuning.lora import add_lora
from tinygrad_llm.finetuning.preferences import (
    Pair,
    dpo_loss,
    log_probabilities,
    pad_pairs,
    preference_loss,
    reference_of,
    score_preferences,
    that_differ,
)
from tinygrad_llm.formats.folder import family_of, save_model
from tinygrad_llm.formats.weights import to_tensors
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.optimizer import AdamW

PAIRS = [Pair(a, b) for a, b in zip(examples(4, seed=1), examples(4, seed=2))]


def test_two_answers_that_are_one_teach_nothing():
    rows = [{"chosen": "b", "rejected": other} for other in "cbd"]
    assert [row["rejected"] for row in that_differ(rows)] == ["c", "d"]
    with pytest.raises(InputError, match="in all 1 examples of a part chosen and rejected are"):
        that_differ(rows[1:2])


def test_log_probabilities_are_sums_over_the_answer():
    one, (inputs, targets) = model(), pad_pairs(PAIRS)
    found = log_probabilities(one, inputs, targets).data
    assert found.shape == (4, 2)
    for p, pair in enumerate(PAIRS):
        for side, example in enumerate(pair):
            logits = one(example.ids[None, :-1])[0]
            log_p = F.log_softmax(logits).data[np.arange(len(example.ids) - 1), example.ids[1:]]
            assert found[p, side] == pytest.approx(log_p[example.first - 1 :].sum(), rel=1e-5)


def test_loss_and_gradient_are_torchs():
    torch = pytest.importorskip("torch", reason="pip install torch")
    rng = np.random.default_rng(0)
    policy, reference = (rng.normal(-20, 4, (5, 2)).astype(np.float32) for _ in range(2))
    policy[0] = reference[0]  # where the margin is 0, and a formula with |x| would have no slope
    policy[1, 0] += 2000  # where exp would overflow
    beta, ours = 0.3, Tensor(policy, requires_grad=True)
    loss = dpo_loss(ours, reference, beta)
    loss.backward()
    t, r = torch.tensor(policy, requires_grad=True), torch.tensor(reference)
    margin = (t[:, 0] - t[:, 1]) - (r[:, 0] - r[:, 1])
    expected = -torch.nn.functional.logsigmoid(beta * margin).sum()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(ours.grad, t.grad, rtol=1e-4, atol=1e-6)
    assert ours.grad[0] == pytest.approx([-beta / 2, beta / 2])


def test_a_models_gradient_is_torchs():
    """d loss / d logits through the whole objective, on a model that is one table of logits."""
    torch = pytest.importorskip("torch", reason="pip install torch")

    class Table:
        def __init__(self, rng):
            self.table = Tensor(rng.standard_normal((31, 8), dtype=np.float32), requires_grad=True)
            self.lm_head = self
            self.weight = Tensor(rng.standard_normal((31, 8), dtype=np.float32))

        def eval(self):
            return self

        def hidden(self, ids):
            return F.embedding(ids, self.table)

    one, (inputs, targets) = Table(np.random.default_rng(3)), pad_pairs(PAIRS)
    reference = np.random.default_rng(4).normal(-30, 2, (4, 2)).astype(np.float32)
    total, pairs = preference_loss(0.1)(one, inputs, reference, targets)
    total.backward()
    table = torch.tensor(one.table.data, requires_grad=True)
    log_p = (table[torch.tensor(inputs)] @ torch.tensor(one.weight.data).T).log_softmax(-1)
    due = torch.tensor(targets)
    chosen = log_p.gather(-1, due.clamp(min=0)[..., None])[..., 0] * (due >= 0)
    r = chosen.sum(-1) - torch.tensor(reference)
    expected = -torch.nn.functional.logsigmoid(0.1 * (r[:, 0] - r[:, 1])).sum()
    expected.backward()
    assert pairs == 4 and total.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(one.table.grad, table.grad, rtol=1e-4, atol=1e-5)


def test_a_llamas_loss_and_whole_gradient_are_those_of_transformers(tmp_path):
    """Two models that have grown apart; every gradient under transformers' name and layout."""
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    one, (inputs, targets) = model(), pad_pairs(PAIRS)
    save_model(tmp_path, one)
    peer = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    reference = log_probabilities(one, inputs, targets).data + np.array([0.5, -1], np.float32)
    total, _ = preference_loss(0.3)(one, inputs, reference, targets)
    total.backward()
    due = torch.tensor(targets)
    log_p = peer(torch.tensor(inputs.reshape(8, -1))).logits.log_softmax(-1).view(*due.shape, -1)
    log_p = log_p.gather(-1, due.clamp(min=0)[..., None])[..., 0] * (due >= 0)
    r = 0.3 * (log_p.sum(-1) - torch.tensor(reference))
    expected = -torch.nn.functional.logsigmoid(r[:, 0] - r[:, 1]).sum()
    expected.backward()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    for parameter in one.parameters():
        parameter.data = parameter.grad
    ours = to_tensors(family_of(one), one)
    theirs = {name: p.grad.numpy() for name, p in peer.named_parameters()}
    assert ours.keys() == theirs.keys() and len(ours) > 10
    for name, gradient in theirs.items():
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(ours[name], gradient, rtol=0, atol=1e-4 * scale, err_msg=name)


def batches(reference=None):
    for start in (0, 2):
        inputs, targets = pad_pairs(PAIRS[start : start + 2])
        yield (
            (inputs, targets)
            if reference is None
            else (
                inputs,
                reference[start : start + 2],
                targets,
            )
        )


def test_it_starts_at_log_2_and_learns_what_is_preferred():
    one, rng = model(), np.random.default_rng(0)
    parameters = add_lora(one, rank=2, rng=rng)
    reference = reference_of(one, batches())
    start = score_preferences(one, batches(reference), 0.5)
    assert start.loss == pytest.approx(math.log(2), abs=1e-3)
    assert start.margin == pytest.approx(0, abs=1e-4)
    optimizer = AdamW(parameters)
    for _ in range(20):
        parts = list(batches(reference))
        loss, *_ = train_step(
            one, preference_loss(0.5), optimizer, parts, lr=0.03, clip=1.0, rng=rng
        )
    end = score_preferences(one, batches(reference), 0.5)
    assert end.loss < 0.4 and end.margin > 0.5 and end.accuracy == 1.0
    assert end.row()["reward_margin"] == end.margin and end.rank == (end.loss,)
    assert str(start).startswith("loss 0.6931, reward margin")


def test_a_pair_does_not_depend_on_those_beside_it():
    one = model()
    together = log_probabilities(one, *pad_pairs(PAIRS)).data
    alone = np.concatenate([log_probabilities(one, *pad_pairs([pair])).data for pair in PAIRS])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
    wide = pad([e for pair in PAIRS for e in pair], width=16)
    wide = [array.reshape(4, 2, -1) for array in wide]
    np.testing.assert_allclose(log_probabilities(one, *wide).data, together, rtol=1e-5, atol=1e-5)


def test_neither_padding_nor_order_nor_parts_matter():
    """To the loss and the gradient of an update: a pair weighs as much as any other."""
    reference = np.random.default_rng(4).normal(-30, 2, (4, 2)).astype(np.float32)

    def part(*some, width=0):
        inputs, targets = pad([example for i in some for example in PAIRS[i]], width=width)
        shape = len(some), 2, -1
        return inputs.reshape(shape), reference[list(some)], targets.reshape(shape)

    def of(*parts):
        return loss_and_gradient(parts, objective=preference_loss(0.1))

    whole = of(part(0, 1, 2, 3))
    assert whole[2] == 4 and np.abs(whole[1]).max() > 0.01
    assert_same(of(part(0, 1, 2, 3, width=16)), whole)
    assert_same(of(part(2, 0, 3, 1)), whole)
    assert_same(of(part(0), part(1, 2, 3)), whole)

"""The GRU beside PyTorch's, and a model of it that sees no future."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.models.recurrent import GRU, GRUConfig, RecurrentLM
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.training.objectives import next_token

SMALL = GRUConfig(vocab_size=11, n_positions=9, n_layer=2, n_embd=6)
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def test_states_and_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="pip install torch")
    rng = np.random.default_rng(0)
    ours, theirs = GRU(5, 7, rng=rng), torch.nn.GRU(5, 7, batch_first=True)
    for name in NAMES:
        getattr(theirs, f"{name}_l0").data = torch.tensor(getattr(ours, name).data.copy())
    values = rng.standard_normal((3, 8, 5)).astype(np.float32)
    dy = rng.standard_normal((3, 8, 7)).astype(np.float32)
    x, y = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    found, (expected, _) = ours(x), theirs(y)
    np.testing.assert_allclose(found.data, expected.detach().numpy(), atol=1e-6)
    (found * dy).sum().backward()
    (expected * torch.tensor(dy)).sum().backward()
    np.testing.assert_allclose(x.grad, y.grad.numpy(), atol=1e-5)
    for name in NAMES:
        there = getattr(theirs, f"{name}_l0").grad.numpy()
        np.testing.assert_allclose(getattr(ours, name).grad, there, atol=1e-5, err_msg=name)


def test_no_state_depends_on_what_comes_later():
    model = RecurrentLM(SMALL, rng=np.random.default_rng(1)).eval()
    ids = np.random.default_rng(2).integers(11, size=(2, 9))
    other = ids.copy()
    other[:, 5] = (other[:, 5] + 1) % 11
    moved = np.abs(model(ids).data - model(other).data).max((0, 2))
    assert not moved[:5].any() and (moved[5:] > 1e-6).all()


def test_the_objective_is_that_of_every_decoder():
    model = RecurrentLM(SMALL, rng=np.random.default_rng(1))
    ids = np.random.default_rng(2).integers(11, size=(2, 10))
    loss = next_token(model, ids[:, :-1], ids[:, 1:])
    loss.total.backward()
    assert loss.tokens == 18 and all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("wrong", [{"n_layer": 0}, {"dropout": 1.0}])
def test_settings_without_a_meaning(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        GRUConfig(**wrong)

"""Causal convolutions beside PyTorch's conv1d, and how far back a model of them sees."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.models.convolutional import CausalConv1d, ConvolutionalLM, GatedConvConfig
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.training.objectives import next_token

SMALL = GatedConvConfig(vocab_size=11, n_positions=12, n_layer=2, n_embd=6, kernel_size=3)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_values_and_gradients_are_those_of_torch(size):
    torch = pytest.importorskip("torch", reason="pip install torch")
    rng = np.random.default_rng(0)
    ours = CausalConv1d(5, 7, size, rng=rng)
    values = rng.standard_normal((3, 8, 5)).astype(np.float32)
    dy = rng.standard_normal((3, 8, 7)).astype(np.float32)
    weight = torch.tensor(ours.linear.weight.data.copy(), requires_grad=True)
    bias = torch.tensor(ours.linear.bias.data.copy(), requires_grad=True)
    x, y = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    padded = torch.nn.functional.pad(y.mT, (size - 1, 0))
    kernel = weight.reshape(7, size, 5).mT  # (out, in, K)
    expected = torch.nn.functional.conv1d(padded, kernel, bias).mT
    found = ours(x)
    np.testing.assert_allclose(found.data, expected.detach().numpy(), atol=1e-5)
    (found * dy).sum().backward()
    (expected * torch.tensor(dy)).sum().backward()
    for mine, theirs in ((x, y), (ours.linear.weight, weight), (ours.linear.bias, bias)):
        np.testing.assert_allclose(mine.grad, theirs.grad.numpy(), atol=1e-4)


def test_it_sees_so_many_tokens_back_and_none_ahead():
    model = ConvolutionalLM(SMALL, rng=np.random.default_rng(1)).eval()
    ids = np.random.default_rng(2).integers(11, size=(2, 12))
    other = ids.copy()
    other[:, 4] = (other[:, 4] + 1) % 11
    moved = np.abs(model(ids).data - model(other).data).max((0, 2)) > 1e-6
    assert moved.tolist() == [4 <= t <= 4 + 2 * 2 for t in range(12)]


def test_the_objective_is_that_of_every_decoder():
    model = ConvolutionalLM(SMALL, rng=np.random.default_rng(1))
    ids = np.random.default_rng(2).integers(11, size=(2, 10))
    loss = next_token(model, ids[:, :-1], ids[:, 1:])
    loss.total.backward()
    assert loss.tokens == 18 and all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("wrong", [{"kernel_size": 0}, {"dropout": 1.0}])
def test_settings_without_a_meaning(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        GatedConvConfig(**wrong)

"""Every operation has a function, with PyTorch's name and order of arguments."""

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm import ops
from tinygrad_llm.tensor import Tensor

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("name", sorted(ops.TABLE))
def test_every_operation_is_there_with_its_formula(name):
    function = getattr(F, name)
    own = name in ("dropout", "linear_residual", "feed_forward")  # they take a generator
    assert function.__name__ == name and (function.__doc__ == ops.TABLE[name].__doc__) != own


def test_arguments_stand_in_pytorchs_order():
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[peers]'")
    G = torch.nn.functional
    weight, bias = np.ones((4, 3), np.float32), np.arange(4, dtype=np.float32)
    row = np.array([1, 2, 3], np.float32)
    calls = [
        (F.linear(X, weight, bias), G.linear(*map(torch.tensor, (X, weight, bias)))),
        (F.embedding([1, 0], X), G.embedding(torch.tensor([1, 0]), torch.tensor(X))),
        (F.softmax(X, 0), G.softmax(torch.tensor(X), 0)),
        (F.where(X > 2, X, 0.0), torch.where(torch.tensor(X) > 2, torch.tensor(X), 0.0)),
        (F.concatenate([X, X], 1), torch.concatenate([torch.tensor(X)] * 2, 1)),
        (F.stack([X, X], 1), torch.stack([torch.tensor(X)] * 2, 1)),
        (F.layer_norm(X, row, row), G.layer_norm(torch.tensor(X), (3,), *[torch.tensor(row)] * 2)),
        (F.rms_norm(X, row, 1e-6), G.rms_norm(torch.tensor(X), (3,), torch.tensor(row), 1e-6)),
        (F.cross_entropy(X, [2, 0]), G.cross_entropy(torch.tensor(X), torch.tensor([2, 0]))),
        (F.masked_fill(X, X > 2, 7.0), torch.tensor(X).masked_fill(torch.tensor(X) > 2, 7.0)),
        (F.clip(X, 1, 3), torch.clip(torch.tensor(X), 1, 3)),
        (F.transpose(X, 0, 1), torch.transpose(torch.tensor(X), 0, 1)),
        (F.gelu(X, approximate="tanh"), G.gelu(torch.tensor(X), approximate="tanh")),
    ]
    for ours, theirs in calls:
        np.testing.assert_allclose(ours.data, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_ids_and_targets_may_be_lists_arrays_or_tensors():
    for ids in ([0, 1], np.array([0, 1]), Tensor([0, 1])):
        assert F.embedding(ids, X).shape == (2, 3)
        assert F.cross_entropy(X, ids).shape == ()


def test_dropout_follows_the_generator_and_stands_aside_in_evaluation():
    x = Tensor(np.ones((100, 100), np.float32), requires_grad=True)
    first, again = (F.dropout(x, 0.5, np.random.default_rng(3)).data for _ in range(2))
    np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng(3)
    F.dropout(x, 0.5, rng)
    assert not np.array_equal(F.dropout(x, 0.5, rng).data, first)
    assert F.dropout(x, 0.5, rng, training=False) is x and F.dropout(x, 0.0, rng) is x

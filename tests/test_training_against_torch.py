"""Fifty steps of AdamW from equal weights and batches follow PyTorch's, step by step."""

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW, AdamWConfig
from tinygrad_llm.twins import kernels, reference

torch = pytest.importorskip(
    "torch", reason="pip install torch: the losses are compared with PyTorch's"
)
from tests import torch_gpt  # noqa: E402

SHAPE = {"vocab_size": 61, "n_positions": 32, "n_layer": 3, "n_head": 3, "n_embd": 48}
VARIANTS = [
    GPTConfig(**SHAPE),
    GPTConfig(**SHAPE, bias=False),
    GPTConfig(**SHAPE, qkv_bias=False, tie_word_embeddings=False),
]
IDS = ["biases", "no-biases", "untied"]


def batches(seed, count=1):
    """Batches with something to learn: the next id is the id before plus a step that the row
    keeps.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        start, stride = rng.integers(0, 61, (4, 1)), rng.integers(1, 5, (4, 1))
        ids = (start + stride * np.arange(33)) % 61
        yield ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("twin", [kernels, reference])
@pytest.mark.parametrize("config", VARIANTS, ids=IDS)
def test_every_gradient_of_the_first_step(config, twin):
    model = GPT(config, rng=np.random.default_rng(1))
    inputs, targets = next(batches(0))
    with twin():
        F.cross_entropy(model(inputs), targets).backward()
    peer = torch_gpt.load(model)
    torch_gpt.loss(peer, config, inputs, targets).backward()
    largest = max(float(t.grad.abs().max()) for t in peer.values())
    for name, parameter in model.named_parameters():
        difference = np.abs(parameter.grad - peer[name].grad.numpy()).max()
        assert difference <= 1e-5 * largest, name


@pytest.mark.parametrize("twin", [kernels, reference])
@pytest.mark.parametrize("config", VARIANTS, ids=IDS)
def test_fifty_steps_of_adamw(config, twin):
    model, settings = GPT(config, rng=np.random.default_rng(2)), AdamWConfig()
    peer = torch_gpt.load(model)
    peer_optimizer = torch_gpt.optimizer(peer, 1e-3, settings)
    optimizer, rng = AdamW(model.parameters(), settings), np.random.default_rng(0)
    for inputs, targets in batches(3, 50):
        with twin():
            loss, norm, tokens = train_step(
                model, next_token, optimizer, [(inputs, targets)], lr=1e-3, clip=1.0, rng=rng
            )
        peer_loss = torch_gpt.loss(peer, config, inputs, targets)
        peer_optimizer.zero_grad()
        peer_loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.values(), 1.0)
        peer_optimizer.step()
        assert tokens == inputs.size
        assert loss == pytest.approx(peer_loss.item(), rel=1e-4)
    assert loss < 3.0  # it learned: log 61 = 4.1

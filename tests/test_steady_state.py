"""A training step at steady state lives on the memory of the steps before it."""

import tracemalloc

import numpy as np
import pytest

from tinygrad_llm.models.bert import BertConfig, BertForMaskedLM
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.models.llama import Llama, LlamaConfig
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.masking import mask_tokens, masked_token
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW

LIMIT = 1 << 20  # bytes
# Activations of 1.5 to 6 MB, 12 MB of logits, 4.6 MB for the largest weight.
SHAPE = {"vocab_size": 3000, "n_positions": 128, "n_layer": 2, "n_head": 4, "n_embd": 384}
OPTIONS = {
    "plain": {},
    "dropout": {"dropout": 0.1},
    "untied without biases": {"bias": False, "tie_word_embeddings": False},
}


def risen(step):
    """The most bytes by which a step raises, for however short a time, what Python and NumPy hold.

    No array in it is larger.
    """
    tracemalloc.start()  # NumPy tells it of every array's memory
    try:
        step()  # what it frees of before the start does not count
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def batch(config, rows):
    """Inputs and targets (rows, T)."""
    shape = rows, config.n_positions + 1
    ids = np.random.default_rng(1).integers(config.vocab_size, size=shape)
    return ids[:, :-1], ids[:, 1:]


def assert_steady(model, parts, objective=next_token):
    model.train()
    optimizer, rng = AdamW(model.parameters()), np.random.default_rng(2)

    def step():
        train_step(model, objective, optimizer, parts, lr=1e-3, clip=1.0, rng=rng)

    for _ in range(3):
        step()
    assert risen(step) < LIMIT


@pytest.mark.parametrize("parts", [1, 2], ids=["one part", "accumulated"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_step_makes_no_array_of_a_megabyte(options, parts):
    config = GPTConfig(**SHAPE, **options)
    model = GPT(config, rng=np.random.default_rng(0))
    assert_steady(model, [batch(config, 8) for _ in range(parts)])


SHAPES = {
    "many rows": (4096, {"vocab_size": 11, "n_positions": 16}),
    "long": (1, {"vocab_size": 11, "n_positions": 4500}),
}


def test_mostly_logits():
    config = GPTConfig(n_layer=1, n_head=1, n_embd=64, vocab_size=20_000, n_positions=256)
    assert_steady(GPT(config, rng=np.random.default_rng(0)), [batch(config, 4)])


@pytest.mark.parametrize("rows, shape", SHAPES.values(), ids=SHAPES)
def test_whatever_the_shape(rows, shape):
    config = GPTConfig(n_layer=1, n_head=1, n_embd=64, **shape)
    assert_steady(GPT(config, rng=np.random.default_rng(0)), [batch(config, rows)])


def test_llama():
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    assert_steady(Llama(config, rng=np.random.default_rng(0)), [batch(config, 8)])


def test_bert():
    config = BertConfig(
        vocab_size=1500,
        hidden_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=256,
    )
    rng = np.random.default_rng(0)
    ids = rng.integers(1500, size=(8, 256))

    class Masked:
        """A part whose masked tokens, and so the number of its scores, are others each time."""

        def __iter__(self):
            yield mask_tokens(ids, rng, mask_id=3, vocab_size=1500)

    assert_steady(BertForMaskedLM(config, rng=rng), Masked(), masked_token)


def test_the_measure_sees_an_array_that_lives_for_a_moment():
    assert risen(lambda: np.empty(LIMIT, np.uint8)) >= LIMIT > risen(lambda: np.empty(1000))
    model = GPT(GPTConfig(**SHAPE), rng=np.random.default_rng(0))

    def wasteful(*batch):
        np.empty(LIMIT, np.uint8)
        return next_token(*batch)

    with pytest.raises(AssertionError):
        assert_steady(model, [batch(model.config, 8)], wasteful)

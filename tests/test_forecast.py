"""Parameter counts are exact, memory is that of a step; the example of row 23 checks time and whole
processes.
"""

import importlib
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.buffers import LOGITS
from tinygrad_llm.models.gpt import GPT, PRESETS, GPTConfig
from tinygrad_llm.recipes.costs import block_size, flops_per_token, num_parameters
from tinygrad_llm.recipes.forecast import check_memory, peak_memory, resident_memory
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW

ROWS = 16  # in a batch
PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_four_sizes_of_gpt2(name):
    assert num_parameters(PRESETS[name]) == PUBLISHED[name]


def test_a_model_beyond_the_machines_memory_is_refused_before_it_is_made():
    check_memory(PRESETS["char-cpu"], 12)
    for config in (GPTConfig(n_embd=12 * 10**18), GPTConfig(n_layer=10**12)):
        with pytest.raises(InputError, match="GB of memory, and this machine has"):
            check_memory(config, 1)
    with pytest.raises(InputError, match="smaller batch_size"):
        check_memory(PRESETS["char-cpu"], 10**9)


@pytest.mark.parametrize("tokens, vocab_size", [(12, 65), (2048, 50257), (3, LOGITS), (256, 65536)])
def test_logits_live_in_blocks_as_the_kernel_makes_them(tokens, vocab_size):
    losses = importlib.import_module("tinygrad_llm.kernels.losses")
    blocks = losses._blocks(tokens, vocab_size)
    largest = max(end - first for first, end in blocks) * vocab_size
    assert 0 <= largest - block_size(tokens, vocab_size) < vocab_size


def test_a_large_vocabulary_costs_no_more_than_a_block_of_logits():
    sizes = {"n_layer": 1, "n_head": 1, "n_embd": 4, "n_positions": 1024}
    less, more = (GPTConfig(vocab_size=v, **sizes) for v in (1 << 16, 1 << 17))
    weights = 4 * 4 * 4 * ((1 << 17) - (1 << 16))
    assert abs(peak_memory(more, 8) - peak_memory(less, 8) - weights) < 2**20
    assert peak_memory(less, 8) - resident_memory() < 4 * (5 * LOGITS)


def test_memory_of_a_step_is_as_forecast():
    """Counted by tracemalloc, in a thread that has no memory of earlier steps."""
    sizes = {"vocab_size": 100, "n_positions": 128, "n_head": 4}
    train_two_steps(GPTConfig(n_layer=1, n_embd=4, **sizes))  # loads Numba, which takes memory too
    config = GPTConfig(n_layer=6, n_embd=256, **sizes)
    with ThreadPoolExecutor(1) as fresh:
        tracemalloc.start()
        try:
            fresh.submit(train_two_steps, config).result()
            measured = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert 0.9 * measured < peak_memory(config, ROWS) - resident_memory() < 1.1 * measured


def train_two_steps(config):
    rng = np.random.default_rng(0)
    model = GPT(config, rng=rng)
    optimizer = AdamW(model.parameters())
    ids = rng.integers(config.vocab_size, size=(ROWS, config.n_positions + 1))
    for _ in range(2):
        part = ids[:, :-1], ids[:, 1:]
        train_step(model, next_token, optimizer, [part], lr=1e-3, clip=1.0, rng=rng)


def test_variants_of_gpt2_small():
    assert num_parameters(GPTConfig(qkv_bias=False)) == 124_412_160
    assert num_parameters(GPTConfig(qkv_bias=False, tie_word_embeddings=False)) == 163_009_536


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_the_formula_counts_what_the_model_has(bias, tied):
    config = GPTConfig(
        vocab_size=13,
        n_positions=7,
        n_layer=3,
        n_head=2,
        n_embd=10,
        bias=bias,
        tie_word_embeddings=tied,
    )
    assert num_parameters(config) == GPT(config, rng=np.random.default_rng(0)).num_parameters()


def test_operations_by_hand():
    config = GPTConfig(vocab_size=5, n_positions=4, n_layer=1, n_head=1, n_embd=2)
    assert flops_per_token(config) == 6 * (12 * 4 + 5 * 2 + 2 * 4)

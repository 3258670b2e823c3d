"""Parameter counts are exact; memory and time are checked against real runs by the example of row
23.
"""

import numpy as np
import pytest

from tinygrad_llm.models.gpt import GPT, PRESETS, GPTConfig
from tinygrad_llm.recipes.forecast import flops_per_token, num_parameters

PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_four_sizes_of_gpt2(name):
    assert num_parameters(PRESETS[name]) == PUBLISHED[name]


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

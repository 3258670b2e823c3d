"""GPT is the decoder alone, and autoregressive (PROOFS row 14): the published sizes, and step by
step = all at once.

Run: python examples/08_gpt_sizes.py
"""

import numpy as np

from tinygrad_llm import GPT, GPTConfig, no_grad
from tinygrad_llm.inference.cache import KVCache
from tinygrad_llm.models.gpt import PRESETS
from tinygrad_llm.recipes.costs import num_parameters

PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


def step_by_step(model, ids):
    """The logits of each position when the model reads one token at a time and remembers keys and
    values.
    """
    cache = [KVCache() for _ in model.h]
    with no_grad():
        return np.concatenate(
            [model(ids[:, t : t + 1], cache=cache).data for t in range(ids.shape[1])], axis=1
        )


def main(config=None):
    exact = all(num_parameters(PRESETS[name]) == count for name, count in PUBLISHED.items())
    for name, count in PUBLISHED.items():
        print(f"{name:<12} {num_parameters(PRESETS[name]):>13,} parameters, published {count:>13,}")
    rng = np.random.default_rng(0)
    model = GPT(config or PRESETS["gpt2"], rng=rng).eval()
    exact = exact and model.num_parameters() == num_parameters(model.config)
    ids = rng.integers(model.config.vocab_size, size=(2, 32))
    with no_grad():
        at_once = model(ids).data
    difference = float(np.abs(step_by_step(model, ids) - at_once).max())
    print(f"logits token by token and all at once differ by {difference:.1e} at most (limit 1e-5)")
    return exact and difference < 1e-5


TINY = GPTConfig(vocab_size=50, n_positions=32, n_layer=2, n_head=2, n_embd=16)

if __name__ == "__main__":
    raise SystemExit(not main())

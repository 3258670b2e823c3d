"""A base model finishes a half-written sentence (PROOFS row 6): greedy text with and without the
cache is the same.

Run: python examples/07_completion.py [FOLDER of a trained model] [PROMPT]
"""

import sys
import time

import numpy as np

from tinygrad_llm import GPT, GPTConfig, no_grad
from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.inference.cache import KVCache
from tinygrad_llm.text import ByteTokenizer, load_tokenizer


def greedy(model, prompt, count, cached):
    """`count` best tokens one after another; without the cache the whole text is read again for
    each.
    """
    cache = [KVCache() for _ in model.h] if cached else None
    ids, new = list(prompt), list(prompt)
    with no_grad():
        while len(ids) < len(prompt) + count:
            hidden = model.hidden(np.array([new if cached else ids]), cache=cache)
            new = [int(model.lm_head(hidden[:, -1:]).argmax(-1)[0, 0])]
            ids += new
    return ids


def main(folder=None, prompt="The import statement ", count=256):
    if folder:
        model, tokenizer = load_model(folder), load_tokenizer(folder)
    else:
        tokenizer = ByteTokenizer()
        config = GPTConfig(
            vocab_size=tokenizer.vocab_size, n_positions=512, n_layer=3, n_head=4, n_embd=64
        )
        model = GPT(config, rng=np.random.default_rng(0)).eval()
    ids = tokenizer.encode(prompt)
    count = min(count, model.config.n_positions - len(ids))
    results, times = {}, {}
    for cached in (True, False, True):
        start = time.perf_counter()
        results[cached] = greedy(model, ids, count, cached)
        times[cached] = time.perf_counter() - start
    print(tokenizer.decode(results[True]))
    print(
        f"{count} tokens: identical with and without the cache: {results[True] == results[False]}; "
        f"{count / times[True]:.0f} and {count / times[False]:.0f} tokens/s"
    )
    return results[True] == results[False]


if __name__ == "__main__":
    raise SystemExit(not main(*sys.argv[1:3]))

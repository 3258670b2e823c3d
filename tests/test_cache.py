"""The key-value cache: nothing is lost when it grows, nothing is copied when it need not."""

import numpy as np
import pytest

from tinygrad_llm.inference.cache import FIRST_CAPACITY, KVCache
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.tensor import Tensor, no_grad


def chunk(rng, tokens, rows=2):
    return tuple(Tensor(rng.standard_normal((rows, 3, tokens, 4), dtype=np.float32)) for _ in "kv")


def test_all_that_was_appended_comes_back_in_order():
    rng, cache = np.random.default_rng(0), KVCache()
    chunks = [chunk(rng, tokens) for tokens in (1, 5, FIRST_CAPACITY, 1, 300, 1)]
    for i, (k, v) in enumerate(chunks, 1):
        keys, values = cache.append(k, v)
        for got, part in ((keys, 0), (values, 1)):
            expected = np.concatenate([both[part].data for both in chunks[:i]], axis=2)
            np.testing.assert_array_equal(got.data, expected)
        assert len(cache) == keys.shape[2] and keys.dtype == np.float32


def test_a_step_copies_only_its_own_token():
    rng, cache = np.random.default_rng(0), KVCache()
    first, _ = cache.append(*chunk(rng, 3))
    second, _ = cache.append(*chunk(rng, 1))
    assert np.shares_memory(first.data, second.data)


def test_growing_copies_each_token_only_a_few_times():
    rng, cache, places = np.random.default_rng(0), KVCache(), set()
    for _ in range(16 * FIRST_CAPACITY):
        places.add(cache.append(*chunk(rng, 1))[0].data.ctypes.data)
    assert len(places) <= 5  # 64, 128, 256, 512, 1024


def test_rows_can_be_repeated_dropped_and_continued():
    rng, cache = np.random.default_rng(0), KVCache()
    keys = cache.append(*chunk(rng, 3))[0].data.copy()
    cache.reorder(np.array([1, 0, 1]))
    k, v = chunk(rng, 1, rows=3)
    both, _ = cache.append(k, v)
    np.testing.assert_array_equal(both.data, np.concatenate([keys[[1, 0, 1]], k.data], 2))
    cache.reorder(np.array([2]))
    assert len(cache) == 4 and cache.append(*chunk(rng, 1, rows=1))[0].shape == (1, 3, 5, 4)


def test_an_empty_cache_can_be_reordered():
    cache = KVCache()
    cache.reorder(np.array([0, 0]))
    assert len(cache) == 0


@pytest.mark.parametrize("sizes", [(12,), (1,) * 12, (5, 1, 1, 5), (3, 9)])
def test_a_model_gives_the_same_scores_whatever_it_reads_at_once(sizes):
    rng = np.random.default_rng(1)
    config = GPTConfig(vocab_size=9, n_positions=12, n_layer=2, n_head=2, n_embd=8)
    model = GPT(config, rng=rng).eval()
    for parameter in model.parameters():
        parameter.copy_(rng.standard_normal(parameter.shape, dtype=np.float32) * 0.5)
    ids, caches = rng.integers(9, size=(3, 12)), [KVCache(), KVCache()]
    with no_grad():
        parts = np.split(ids, np.cumsum(sizes)[:-1], axis=1)
        scores = np.concatenate([model(part, cache=caches).data for part in parts], axis=1)
        np.testing.assert_allclose(scores, model(ids).data, atol=1e-5)

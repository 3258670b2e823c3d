"""batches.py: each token once an epoch, resumed bit for bit; windows predict each token once."""

import json
import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data.batches import Batches, windows
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError


class Endless:
    """10^12 tokens of which each is its own position, without storage."""

    def __len__(self):
        return 10**12

    def __getitem__(self, span):
        return np.arange(span.start, span.stop)


def make(n=1000, batch_size=4, context=16, seed=0):
    tokens = Tokens.from_array(np.arange(n))
    return Batches(tokens, batch_size=batch_size, context=context, rng=np.random.default_rng(seed))


def epochs(batches, count):
    """The windows of the first `count` epochs, from batches of one window."""
    found = [[] for _ in range(count)]
    for inputs, _ in batches:
        if batches.epoch == count:
            return [np.concatenate(epoch) for epoch in found]
        found[batches.epoch].append(inputs)


def test_shapes_and_targets():
    inputs, targets = next(make())
    assert inputs.shape == targets.shape == (4, 16)
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.flags.c_contiguous and targets.flags.c_contiguous
    assert np.array_equal(targets, inputs + 1) and np.array_equal(inputs[:, 1:], targets[:, :-1])


@given(context=st.integers(1, 9), spare=st.integers(1, 40), seed=st.integers(0, 9))
def test_each_token_is_read_once_an_epoch(context, spare, seed):
    n = context + spare
    for epoch in epochs(make(n, 1, context, seed), 3):
        read = np.sort(epoch.ravel())
        phase = read[0]
        assert phase < context and np.array_equal(read, np.arange(phase, phase + len(read)))
        assert n - 1 - context < phase + len(read) <= n - 1  # the last token is only a target


def test_epochs_differ_in_order_and_phase():
    first, second, third = (epoch[:, 0] for epoch in epochs(make(10_000, 1, 16), 3))
    assert not np.array_equal(first, np.sort(first))
    assert len({int(epoch.min()) for epoch in (first, second, third)}) > 1
    assert not np.array_equal(np.argsort(first)[:600], np.argsort(second)[:600])


def test_the_same_generator_gives_the_same_batches_and_another_gives_others():
    one, same, other = make(seed=1), make(seed=1), make(seed=2)
    for _ in range(50):
        batch = next(one)
        assert np.array_equal(batch, next(same))
        assert not np.array_equal(batch, next(other))


@pytest.mark.parametrize("done", [0, 1, 7, 15, 16, 40])
def test_a_resumed_run_goes_on_bit_for_bit(done):
    batches = make(seed=3)  # 61 or 62 windows an epoch: a batch of four straddles the border
    for _ in range(done):
        next(batches)
    resumed = make(seed=4)
    resumed.load_state_dict(json.loads(json.dumps(batches.state_dict())))
    for _ in range(40):
        assert np.array_equal(next(batches), next(resumed))
        assert batches.epoch == resumed.epoch


def test_a_batch_larger_than_the_corpus_takes_several_epochs():
    batches = make(n=5, batch_size=7, context=4)
    inputs, _ = next(batches)
    assert np.array_equal(inputs, np.tile(np.arange(4), (7, 1))) and batches.epoch == 6


def test_memory_does_not_grow_with_the_corpus():
    tracemalloc.start()
    batches = Batches(Endless(), batch_size=8, context=64, rng=np.random.default_rng(0))
    starts = np.concatenate([inputs[:, 0].copy() for inputs, _ in islice(batches, 300)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert starts.max() > 0.99e12 and starts.min() < 0.01e12 and len(set(starts)) == len(starts)


def test_a_corpus_shorter_than_a_context_names_both_numbers():
    assert next(make(n=17, context=16))[0].shape == (4, 16)
    with pytest.raises(InputError, match="has 16 tokens, .* of 16 needs at least 17; give more"):
        make(n=16, context=16)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tokens": 999}, "stored batches had tokens = 999, these have 1,000"),
        ({"context": 8}, "stored batches had context = 8"),
        ({"position": 10**6}, "position 1,000,000 is past"),
        ({"epoch": -1}, "whole numbers"),
        ({"seed": 0.5}, "whole numbers"),
        ({"x": 1}, "seed, epoch"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, message):
    batches = make()
    with pytest.raises(InputError, match=message):
        batches.load_state_dict(batches.state_dict() | change)


@given(n=st.integers(2, 70), batch_size=st.integers(1, 5), context=st.integers(1, 20))
def test_windows_predict_each_token_after_the_first_once(n, batch_size, context):
    batches = list(windows(Tokens.from_array(np.arange(n)), batch_size=batch_size, context=context))
    inputs = np.concatenate([inputs.ravel() for inputs, _ in batches])
    targets = np.concatenate([targets.ravel() for _, targets in batches])
    assert np.array_equal(inputs, np.arange(n - 1)) and np.array_equal(targets, np.arange(1, n))
    shapes = [inputs.shape for inputs, _ in batches]
    whole, rest = divmod(n - 1, context)
    assert shapes[: whole // batch_size] == [(batch_size, context)] * (whole // batch_size)
    assert (shapes[-1] == (1, rest)) if rest else all(shape[1] == context for shape in shapes)


def test_windows_need_something_to_predict():
    with pytest.raises(InputError, match="has 1 tokens, but 2 or more"):
        windows(Tokens.from_array(np.array([3])), batch_size=1, context=4)


@pytest.mark.parametrize("batch_size, context", [(0, 4), (2, 0)])
def test_sizes_below_one_are_refused(batch_size, context):
    sizes, tokens = {"batch_size": batch_size, "context": context}, Tokens.from_array(np.arange(9))
    with pytest.raises(InputError, match="at least 1"):
        windows(tokens, **sizes)
    with pytest.raises(InputError, match="at least 1"):
        Batches(tokens, rng=np.random.default_rng(0), **sizes)

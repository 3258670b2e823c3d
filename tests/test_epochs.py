"""Epochs: every example once, like lengths together, and a place that can be gone back to."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.epochs import POOL, Epochs


def epochs(size=103, batch_size=4, seed=1):
    lengths = np.random.default_rng(0).integers(1, 100, size)
    rng = np.random.default_rng(seed)
    return Epochs(lengths, lambda some: some.tolist(), batch_size=batch_size, rng=rng)


def take(batches, count):
    return [next(batches) for _ in range(count)]


def test_each_epoch_has_every_example_once_in_another_order():
    batches = epochs()
    first, second = take(batches, len(batches)), take(batches, len(batches))
    for epoch in (first, second):
        assert sorted(i for batch in epoch for i in batch) == list(range(103))
        assert [len(batch) for batch in epoch] == [4] * 25 + [3]
    assert first != second and take(epochs(), 26) == first and take(epochs(seed=2), 26) != first


def test_lengths_in_a_batch_are_alike():
    batches = epochs(size=4 * POOL)
    spread = [np.ptp(batches.lengths[batch]) for batch in take(batches, POOL)]
    shuffled = batches.lengths.reshape(-1, 4)
    assert np.mean(spread) < np.mean(np.ptp(shuffled, axis=1)) / 4


@pytest.mark.parametrize("taken", [0, 5, 26, 30])
def test_it_goes_on_where_it_was(taken):
    batches, other = epochs(), epochs(seed=9)
    take(batches, taken)
    other.load_state_dict(batches.state_dict())
    assert take(other, 40) == take(batches, 40)


def test_refusals():
    state = epochs().state_dict()
    for changed, message in (
        ({"examples": 7}, "had examples = 7, these have 103"),
        ({"batch_size": 5}, "had batch_size = 5"),
        ({"lengths": 5}, "of as many examples of other lengths"),
        ({"position": 99}, "position 99 is past"),
        ({"epoch": -1}, "the state of batches has"),
    ):
        with pytest.raises(InputError, match=message):
            epochs().load_state_dict(state | changed)
    with pytest.raises(InputError, match="0 examples in batches of 4"):
        epochs(size=0)

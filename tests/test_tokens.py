"""tokens.py: a view over parts is the array of the parts joined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError

lengths = st.lists(st.integers(0, 5), min_size=1, max_size=6)
positions = st.one_of(st.none(), st.integers(-30, 30))


def in_parts(lengths):
    ids = np.arange(sum(lengths), dtype=np.uint16)
    return ids, Tokens(np.split(ids, np.cumsum(lengths)[:-1]))


@given(lengths, positions, positions)
def test_slices_are_those_of_the_joined_array(lengths, start, stop):
    ids, tokens = in_parts(lengths)
    read = tokens[start:stop]
    assert read.dtype == np.int64 and np.array_equal(read, ids[start:stop])
    assert len(tokens) == len(ids)


@given(lengths, st.floats(0.01, 0.99), positions, positions)
def test_a_split_is_two_slices(lengths, fraction, start, stop):
    ids, tokens = in_parts(lengths)
    for fraction_of_rest in (fraction, 0.5):  # a view can be split again
        train, validation = tokens.split(fraction_of_rest)
        border = int(len(ids) * (1 - fraction_of_rest))
        assert np.array_equal(train[start:stop], ids[:border][start:stop])
        assert np.array_equal(validation[start:stop], ids[border:][start:stop])
        ids, tokens = ids[border:], validation


def test_the_split_of_nanogpt():
    """nanoGPT cuts the 1,115,394 characters of tiny Shakespeare into 1,003,854 and 111,540."""
    train, validation = Tokens.from_array(np.zeros(1_115_394, np.uint8)).split(0.1)
    assert (len(train), len(validation)) == (1_003_854, 111_540)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 10])
def test_a_split_that_leaves_nothing_is_refused(fraction):
    with pytest.raises(InputError, match=f"validation split of {fraction} is not between 0 and 1"):
        Tokens.from_array(np.arange(9)).split(fraction)


def test_what_is_read_can_be_changed_without_changing_the_tokens():
    tokens = Tokens.from_array(np.arange(9))
    tokens[:][:] = 0
    assert np.array_equal(tokens[:], np.arange(9))


@pytest.mark.parametrize("ids", [[0.5], [[1, 2]], [], 3])
def test_only_a_row_of_integers_is_taken(ids):
    with pytest.raises(InputError, match="one row of integers"):
        Tokens.from_array(ids)


@pytest.mark.parametrize("index", [0, slice(0, 4, 2), slice(None, None, -1), [1, 2]])
def test_other_ways_of_indexing_are_refused(index):
    with pytest.raises(TypeError, match=r"tokens\[start:stop\]"):
        Tokens.from_array(np.arange(9))[index]

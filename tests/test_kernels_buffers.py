"""Recycled memory: never two arrays in one place, none kept that is not needed."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest

from tinygrad_llm.kernels import buffers
from tinygrad_llm.kernels.buffers import ALIGNMENT, empty, int64_line

SIZE = 100_000  # numbers


@pytest.fixture(autouse=True)
def nothing_kept():
    buffers._blocks().clear()


def place(array):
    return array.ctypes.data


def test_arrays_in_use_never_share_memory():
    arrays = [empty((10, SIZE // 10)) for _ in range(20)]
    for i, array in enumerate(arrays):
        array.fill(i)
    assert all(np.all(array == i) for i, array in enumerate(arrays))
    assert all(place(array) % ALIGNMENT == 0 for array in arrays)


def test_memory_of_an_array_that_is_gone_is_used_again():
    first = empty((SIZE,))
    before = place(first)
    del first
    assert place(empty((SIZE // 4, 4))) == before


def test_memory_a_little_larger_serves_and_memory_far_larger_does_not():
    kept = empty((SIZE * 4 // 3,))
    before = place(kept)
    del kept
    assert place(empty((SIZE // 2,))) != before
    assert place(empty((SIZE,))) == before


def test_a_little_more_or_less_is_the_same_memory():
    first = empty((SIZE,))
    before = place(first)
    del first
    for size in (SIZE + 1, SIZE - SIZE // 100, SIZE):
        assert place(empty((size, 1))) == before
    for size in (5000, 98_304, 98_305, 2**20 - 1):
        assert size <= buffers._rounded(size) <= size * 9 / 8


def test_integers_of_any_kind_become_int64_in_memory_that_is_used_again():
    ids = np.arange(2 * SIZE, dtype=np.uint16).reshape(-1, 100)[:, ::2]
    first = int64_line(ids)
    before = place(first)
    assert first.dtype == np.int64 and np.array_equal(first, ids.reshape(-1))
    del first
    assert place(int64_line(ids)) == before


def test_a_view_keeps_the_memory():
    array = empty((SIZE,))
    view = array.reshape(-1, 4).T[1:, ::2]
    before = place(array)
    del array
    assert place(empty((SIZE,))) != before
    assert view.shape == (3, SIZE // 8)


def test_many_sizes_one_after_another_keep_little():
    def ask():
        for n in range(200):
            empty((SIZE + n,)).fill(0)
        kept.append(tracemalloc.get_traced_memory()[0])

    kept, thread = [], threading.Thread(target=ask)  # which never had more in use
    tracemalloc.start()
    try:
        thread.start()
        thread.join()
    finally:
        tracemalloc.stop()
    assert kept[0] < 4 * 4 * SIZE


def test_what_a_step_needs_is_kept_between_two_steps():
    def step():
        return [place(array) for array in [empty((SIZE + n,)) for n in range(9)]]

    first = step()
    assert step() == first and step() == first


def test_threads_have_their_own():
    mine, theirs = empty((SIZE,)), []
    thread = threading.Thread(target=lambda: theirs.append(empty((SIZE,))))
    thread.start()
    thread.join()
    gc.collect()
    assert place(theirs[0]) != place(mine)
    mine.fill(1)
    theirs[0].fill(2)
    assert np.all(mine == 1)

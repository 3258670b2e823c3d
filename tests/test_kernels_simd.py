"""The register tile of every processor, on this one: LLVM makes vectors of any length of what the
host has.
"""

import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import njit

from tinygrad_llm.kernels.simd import (
    COLUMNS,
    LANES,
    ROWS,
    VECTORS,
    copy_row,
    copy_transposed,
    host_tile,
    multiply_rows,
    multiply_tile,
    transpose_square,
)

FEATURES = {  # by the names that LLVM gives them
    "SSE": {"sse2": True, "avx": False, "avx512f": False},
    "AVX2": {"sse2": True, "avx": True, "avx2": True, "fma": True, "avx512f": False},
    "AVX-512": {"sse2": True, "avx": True, "avx2": True, "fma": True, "avx512f": True},
    "NEON": {"neon": True, "fp-armv8": True},
}
TILES = {"SSE": (4, 6), "AVX2": (8, 6), "AVX-512": (16, 12), "NEON": (4, 12)}  # lanes, rows
REGISTERS = {"SSE": 16, "AVX2": 16, "AVX-512": 32, "NEON": 32}
CPU_NAMES = {"SSE": "x86-64", "AVX2": "haswell"}  # the least of their kind
AROUND = -777  # what lies around a target, and must lie there afterwards
ROOT = Path(__file__).parents[1]

every_tile = pytest.mark.parametrize("lanes, rows", TILES.values(), ids=TILES)


@pytest.mark.parametrize("processor", FEATURES)
def test_the_tile_of_a_processor_fits_its_registers(processor):
    lanes, rows = host_tile(FEATURES[processor])
    assert (lanes, rows) == TILES[processor]
    # one row of b, one number of a, and every sum
    assert VECTORS + 1 + rows * VECTORS <= REGISTERS[processor]


def test_a_host_that_names_no_features_gets_the_smallest_tile():
    assert host_tile({}) == TILES["SSE"]
    assert (LANES, ROWS) in TILES.values() and COLUMNS == VECTORS * LANES


def integers(*shape, seed=0):
    """Float32 numbers whose products and sums are exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


def framed(*shape):
    """(frame, inner): an array in the middle of a larger one that is full of AROUND."""
    frame = np.full([n + 40 for n in shape], AROUND, np.float32)
    return frame, frame[tuple(slice(20, -20) for _ in shape)]


def assert_frame(frame, inner, expected):
    """The inner array holds what is expected, and nothing around it was touched."""
    np.testing.assert_array_equal(inner, expected)
    inner[...] = AROUND
    assert np.all(frame == AROUND)


def place(array):
    return array.ctypes.data


def assert_products(multiply, lanes, rows):
    """multiply(a, b, c, add, fetch) on an a (depth, rows): c = or += a^T b."""
    for depth in (1, 2, 7, 40):
        a, b = integers(depth, rows), integers(depth, VECTORS * lanes, seed=1)
        for fetch in (None, (place(b), b.strides[0], 1 << 15)):
            for add in (False, True):
                frame, c = framed(rows, VECTORS * lanes)
                before = integers(*c.shape, seed=2) if add else np.zeros(c.shape)
                c[...] = before if add else np.nan
                multiply(a, b, c, add, fetch)
                assert_frame(frame, c, a.T @ b + before)


@every_tile
def test_multiply_tile(lanes, rows):
    @njit
    def multiply(a, b, depth, c, c_stride, add, fetch):
        multiply_tile(rows, VECTORS, lanes, a, b, depth, c, c_stride, add, fetch)

    def packed(a, b, c, add, fetch):
        multiply(place(a), place(b), len(a), place(c), c.strides[0], add, fetch)

    assert_products(packed, lanes, rows)


@every_tile
def test_multiply_rows(lanes, rows):
    @njit
    def multiply(a, a_stride, b, depth, c, c_stride, add, fetch):
        multiply_rows(rows, VECTORS, lanes, a, a_stride, b, depth, c, c_stride, add, fetch)

    def as_they_lie(a, b, c, add, fetch):
        lines = np.full((rows, len(a) + 3), np.nan, np.float32)
        lines[:, : len(a)] = a.T
        stride = lines.strides[0]
        multiply(place(lines), stride, place(b), len(a), place(c), c.strides[0], add, fetch)

    assert_products(as_they_lie, lanes, rows)


@every_tile
def test_copy_row(lanes, rows):
    for width in (rows, VECTORS * lanes, 1, lanes + 1):

        @njit
        def copy(target, source):
            copy_row(width, lanes, target, source)

        whole = -(-width // lanes) * lanes  # numbers beyond the width come along, up to a vector
        source, (frame, target) = integers(whole), framed(whole)
        copy(place(target), place(source))
        assert_frame(frame, target, source)


@every_tile
def test_copy_transposed(lanes, rows):
    for width in (rows, VECTORS * lanes):

        @njit
        def copy(target, source, stride, there):
            copy_transposed(width, lanes, target, source, stride, there)

        for there in {1, width - 1, width}:
            source = integers(there, lanes + 3)
            frame, target = framed(lanes * width)
            copy(place(target), place(source), source.strides[0], there)
            beyond = frame[20 + target.size :][: lanes - 1]  # may be written
            beyond[...] = AROUND
            last = np.minimum(np.arange(width), there - 1)
            assert_frame(frame, target, source[last, :lanes].T.ravel())


@every_tile
def test_transpose_square(lanes, rows):
    @njit
    def transpose(target, target_stride, source, source_stride, add):
        transpose_square(lanes, target, target_stride, source, source_stride, add)

    source = integers(lanes, lanes + 5)
    for add in (False, True):
        frame, target = framed(lanes, lanes)
        before = integers(lanes, lanes, seed=2) if add else np.zeros(target.shape)
        target[...] = before if add else np.nan
        transpose(place(target), target.strides[0], place(source), source.strides[0], add)
        assert_frame(frame, target, source[:, :lanes].T + before)


AS_ANOTHER = """
import sys
from unittest import mock
import pytest
with mock.patch("llvmlite.binding.get_host_cpu_features", lambda: {features}):
    from tinygrad_llm.kernels import simd
assert (simd.LANES, simd.ROWS) == {tile}
sys.exit(pytest.main(["-x", "-k", "not torch", "-p", "no:cacheprovider", *{files}]))
"""
LAWS = ["tests/test_kernels_matmul.py", "tests/test_kernels_attention.py"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The laws of products and of attention, running in one process for each other processor."""
    host, started = llvm.get_host_cpu_features(), {}
    for processor in TILES:
        if TILES[processor] == (LANES, ROWS):
            continue
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp(processor))}
        if all(host.get(name) for name, has in FEATURES[processor].items() if has):
            environment |= {"NUMBA_CPU_NAME": CPU_NAMES[processor], "NUMBA_CPU_FEATURES": ""}
        code = AS_ANOTHER.format(features=FEATURES[processor], tile=TILES[processor], files=LAWS)
        started[processor] = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("processor", TILES)
def test_products_and_attention_as_another_processor_has_them(runs, processor):
    """Where the host can be told to make code as for a lesser one of its kind, it does."""
    if processor not in runs:
        pytest.skip("the host's own tile, which every other test runs")
    output, _ = runs[processor].communicate(timeout=300)
    assert runs[processor].returncode == 0, output
    assert " passed" in output

"""What a matrix product does to each finished part of its result, while it is in the nearest cache.

Plain: c + bias. GELU: the same, and its GELU beside it. Residual: r + dropout(c + bias).
"""

from typing import NamedTuple

import numpy as np
from numba import carray, njit
from numpy import float32, int64, uint32

from tinygrad_llm.kernels.compiling import FASTMATH, INNER
from tinygrad_llm.kernels.parallel import address, line, size, stride
from tinygrad_llm.kernels.polynomials import gelu, gelu_tanh
from tinygrad_llm.kernels.selection import hash_settings, keeps
from tinygrad_llm.kernels.simd import COLUMNS, FLOAT_BYTES, pointer
from tinygrad_llm.kernels.vectors import load, spread, store

PLAIN, GELU, GELU_TANH, RESIDUAL = range(4)
_ZERO = float32(0)
NO_ROWS = np.zeros((0, 0), np.float32)
_NO_BIAS = np.zeros(0, np.float32)


class Epilogue(NamedTuple):
    """Addresses count bytes; dropout keeps what hashes, with (first, second), to `threshold` or
    more.
    """

    kind: int
    bias: int  # 0 for none
    other: int  # GELU: where y goes; residual: r
    other_stride: int  # bytes from row to row
    width: int  # columns of c
    dropping: bool
    first: np.uint32
    second: np.uint32
    threshold: np.uint32
    start: int  # the place of c's first entry in the array that dropout counts through
    keep_scale: np.float32


def arguments(kind=PLAIN, bias=None, other=NO_ROWS, dropout_p=0.0, seed=0, start=0):
    """The four arguments of a worker from which `epilogue_of` makes an Epilogue."""
    bias = _NO_BIAS if bias is None else np.ascontiguousarray(bias, np.float32)
    if dropout_p == 0:
        return _SETTINGS[kind], _ONE, bias, other
    settings = np.array([kind, True, *hash_settings(dropout_p, seed), start, 0], np.int64)
    return settings, np.array([1 / (1 - dropout_p)], np.float32), bias, other


_SETTINGS = [np.array([kind, False, 0, 0, 0, 0, 0], np.int64) for kind in range(4)]
_ONE = np.ones(1, np.float32)
NOTHING = arguments()


def columns_of(epilogue, first, end, width):
    """The four arguments for the columns from first to end - 1 of a c of so many, alone."""
    settings, scale, bias, other = epilogue
    settings = settings.copy()
    settings[5:] = settings[5] + first, width
    return settings, scale, bias[first:end], other[:, first:end]


@njit(**INNER)
def epilogue_of(arguments, i, width):
    """The Epilogue from the four arguments of a worker from the i-th on; width: columns of c unless
    they are some of a wider one's.
    """
    settings, scale = line(arguments, i, int64), line(arguments, i + 1, float32)
    return Epilogue(
        settings[0],
        address(arguments, i + 2) if size(arguments, i + 2, 0) else 0,
        address(arguments, i + 3),
        stride(arguments, i + 3, 0),
        settings[6] if settings[6] else width,
        settings[1] != 0,
        uint32(settings[2]),
        uint32(settings[3]),
        uint32(settings[4]),
        settings[5],
        scale[0],
    )


@njit(**INNER)
def finish(place, row_bytes, rows, columns, epilogue, i, j):
    """Apply the epilogue to `rows` rows and up to COLUMNS columns of c, from entry (i, j) on, which
    lies at `place`.
    """
    if epilogue.kind == PLAIN and epilogue.bias == 0:
        return
    if columns == COLUMNS and not epilogue.dropping:
        _finish_vectors(place, row_bytes, rows, epilogue, i, j)
    else:
        _finish_numbers(place, row_bytes, rows, columns, epilogue, i, j)


@njit(**INNER)
def _finish_vectors(place, row_bytes, rows, epilogue, i, j):
    shift = load(epilogue.bias + j * FLOAT_BYTES) if epilogue.bias else spread(_ZERO)
    other = epilogue.other + i * epilogue.other_stride + j * FLOAT_BYTES
    for _ in range(rows):
        x = load(place) + shift
        if epilogue.kind == GELU:
            store(gelu(x), other)
        elif epilogue.kind == GELU_TANH:
            store(gelu_tanh(x), other)
        elif epilogue.kind == RESIDUAL:
            x = load(other) + x
        store(x, place)
        place += row_bytes
        other += epilogue.other_stride


@njit(fastmath=FASTMATH, **INNER)
def _finish_numbers(place, row_bytes, rows, columns, epilogue, i, j):
    for r in range(i, i + rows):
        row = carray(pointer(place + (r - i) * row_bytes), columns)
        if epilogue.bias:
            shift = carray(pointer(epilogue.bias + j * FLOAT_BYTES), columns)
            for c in range(columns):
                row[c] += shift[c]
        other = pointer(epilogue.other + r * epilogue.other_stride + j * FLOAT_BYTES)
        for c in range(columns):
            if epilogue.kind == GELU:
                other[c] = gelu(row[c])
            elif epilogue.kind == GELU_TANH:
                other[c] = gelu_tanh(row[c])
            elif epilogue.kind == RESIDUAL:
                row[c] = other[c] + _dropped(row[c], epilogue, r * epilogue.width + j + c)


@njit(**INNER)
def _dropped(x, epilogue, position):
    if not epilogue.dropping:
        return x
    position = uint32(epilogue.start + position)
    kept = keeps(position, epilogue.first, epilogue.second, epilogue.threshold)
    return x * (epilogue.keep_scale if kept else _ZERO)  # NaN stays NaN

"""Attention's forward pass for one query a head, as when a model writes: what takes the time is to
read keys and values once.

Sums run in the order of attention_forward.py, where COLUMNS queries lie side by side, so a query
alone equals that query among others bit for bit. Here COLUMNS keys do, then COLUMNS of the width.
"""

import numpy as np
from numba import njit
from numpy import float32

from tinygrad_llm.kernels import packing
from tinygrad_llm.kernels.attention_tiles import TILE_ROW, places_of, problem_of
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import Worker, matrix, share
from tinygrad_llm.kernels.polynomials import exp_of_negative
from tinygrad_llm.kernels.simd import (
    COLUMNS,
    FLOAT_BYTES,
    LANES,
    VECTORS,
    multiply_rows,
    pointer,
)
from tinygrad_llm.kernels.vectors import lane, larger, load, spread, store

BLOCK_KEYS = 256  # as in attention_forward.py: each block's sum begins at 0
_ZERO, _ONE, _LOWEST = map(float32, (0, 1, -np.inf))
_K, _SCORES, _Q = range(3)  # places in scratch memory


def sizes(keys, width, groups):
    """Numbers of scratch memory that one thread needs at each place."""
    return [width * COLUMNS, groups * _padded(keys), groups * width]


def fits(queries, keys, width, masked, dropping):
    """Whether this pass can stand for attention_forward.py's."""
    return queries == 1 and keys > 0 and width % COLUMNS == 0 and not (masked or dropping)


def _padded(keys):
    return (keys + COLUMNS - 1) // COLUMNS * COLUMNS


_padded_inside = njit(**INNER)(_padded)


@Worker
def heads(arguments, worker, workers):
    """One worker's key heads, each with the query heads that share it. Arguments: those of
    attention_forward.heads.
    """
    problem, room = problem_of(arguments), places_of(arguments, 8, worker)
    groups, width = problem.groups, problem.width
    key_heads = problem.heads // groups
    row = _padded_inside(problem.keys) * FLOAT_BYTES
    first, end = share(problem.batch * key_heads, worker, workers)
    for task in range(first, end):
        b, g = task // key_heads, task % key_heads
        k, v = matrix(arguments, 3, b, g), matrix(arguments, 4, b, g)
        for i in range(groups):
            q = matrix(arguments, 2, b, g * groups + i)[0]
            for d in range(0, width * FLOAT_BYTES, TILE_ROW):
                store(load(q + d) * problem.scale, room[_Q] + i * width * FLOAT_BYTES + d)
        _scores(problem, k, room, row)
        for i in range(groups):
            head = g * groups + i
            y, statistics = matrix(arguments, 6, b, head)[0], matrix(arguments, 7, b, head)[0]
            scores = room[_SCORES] + i * row
            largest, inverse = _softmax(scores, problem.keys)
            numbers = pointer(statistics)
            numbers[0], numbers[1] = largest, inverse
            for d in range(0, width * FLOAT_BYTES, TILE_ROW):
                store(_weighted(scores, v, d, problem.keys) * inverse, y + d)


@njit(**INNER)
def _scores(problem, k, room, row):
    """scale q k, a row of scores for each query; behind the last key -inf."""
    operand = k[0], k[1], k[2], problem.keys
    for s in range(0, problem.keys, COLUMNS):
        packing.pack_columns(room[_K], operand, s, 0, problem.width)
        for i in range(problem.groups):
            q = room[_Q] + i * problem.width * FLOAT_BYTES
            place = room[_SCORES] + i * row + s * FLOAT_BYTES
            multiply_rows(1, VECTORS, LANES, q, 0, room[_K], problem.width, place, 0, 0, None)
    for i in range(problem.groups):
        scores = pointer(room[_SCORES] + i * row)
        for s in range(problem.keys, row // FLOAT_BYTES):
            scores[s] = _LOWEST


@njit(fastmath={"contract"}, **INNER)  # else the worker's flags hold, and sums are in parts
def _softmax(scores, keys):
    """exp(score - largest) in place of the scores; returns the largest, and 1 / their sum."""
    numbers, largest, total = pointer(scores), _LOWEST, _ZERO
    highest = spread(_LOWEST)
    for s in range(0, keys * FLOAT_BYTES, TILE_ROW):
        highest = larger(highest, load(scores + s))
    for c in range(COLUMNS):
        largest = larger(largest, lane(highest, c))
    largest = _ZERO if largest == _LOWEST else largest  # a query that sees no key
    for s in range(0, keys * FLOAT_BYTES, TILE_ROW):
        store(exp_of_negative(load(scores + s) - largest), scores + s)
    for s in range(keys):
        total += numbers[s]
    return largest, _ZERO if total == _ZERO else _ONE / total


@njit(fastmath={"contract"}, **INNER)
def _weighted(weights, v, d, keys):
    """The sum over the keys of weight times value, for COLUMNS of the width from byte d on."""
    total, w = spread(_ZERO), pointer(weights)
    for block in range(0, keys, BLOCK_KEYS):
        part = spread(_ZERO)
        for s in range(block, min(block + BLOCK_KEYS, keys)):
            part = load(v[0] + s * v[1] + d) * w[s] + part
        total = total + part if block else part
    return total

"""The compiled twins of ops/losses.py's cross-entropies: the softmax is never stored, and behind a
last layer the logits of a block of rows alone.
"""

import itertools
import math

import numpy as np
from numpy import float32, int64

from tinygrad_llm.checks import check_linear, check_targets
from tinygrad_llm.kernels.buffers import LOGITS, Room, empty, int64_line
from tinygrad_llm.kernels.gemm import gemm
from tinygrad_llm.kernels.matmul import product_in
from tinygrad_llm.kernels.parallel import Worker, as_table, line, run, share, table, threads_for
from tinygrad_llm.kernels.polynomials import exp_of_negative
from tinygrad_llm.kernels.vectors import larger

_ZERO, _ONE, _LOWEST = map(float32, (0, 1, -np.inf))
_IGNORED = -1


def cross_entropy(logits, /, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """y = mean over the rows that count of -sum_j q_j log softmax(logits)_j;   with n such rows:

    dlogits = (softmax(logits) - q) dy / n, and 0 in the rows that do not count.
    Saved: the logits, and of each row the largest and 1 / sum_j exp(logit_j - largest).
    """
    chosen, divisor = _chosen(logits.shape, targets, ignore_index, reduction, label_smoothing)
    q = _label(label_smoothing, logits.shape[-1])
    shape, rows = logits.shape, as_table(logits)
    losses, statistics = empty((len(rows),)), empty((len(rows), 2))
    threads = threads_for(rows.size)
    run(_forward, threads, rows, chosen, q, losses, statistics)

    def backward(dy):
        drows, scale = empty(rows.shape), np.full(1, dy / divisor, np.float32)
        run(_backward, threads, rows, chosen, q, statistics, scale, drows)
        return (drows.reshape(shape),)

    return _total(losses, divisor), backward


def linear_cross_entropy(
    x, weight, /, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """y = cross_entropy(x W^T, targets);   dlogits as there,  dx = dlogits W,  dW = dlogits^T x.

    Logits live a block of rows at a time. Backward makes them again, but for the last block, which
    is still there, and turns them into dlogits in place.
    """
    check_linear(x, weight, None)
    shape = *x.shape[:-1], len(weight)
    chosen, divisor = _chosen(shape, targets, ignore_index, reduction, label_smoothing)
    q = _label(label_smoothing, len(weight))
    rows, blocks = as_table(x), _blocks(len(chosen), len(weight))
    losses, statistics = empty((len(rows),)), empty((len(rows), 2))
    room = empty((max((end - first for first, end in blocks), default=0), len(weight)))
    threads, there = threads_for(room.size), None
    for there in blocks:
        block = slice(*there)
        logits = gemm(rows[block], weight.T, room[: len(rows[block])])
        run(_forward, threads, logits, chosen[block], q, losses[block], statistics[block])

    def backward(dy, needs, rooms=(None, None)):
        nonlocal there
        dx = empty(rows.shape) if needs[0] else None
        scale = np.full(1, dy / divisor, np.float32)
        place = rooms[1] or Room(np.empty(weight.shape if needs[1] else 0, np.float32), False)
        if not (blocks or place.add):
            place.array[...] = 0  # no row, no sum
        for here in reversed(blocks):
            block = slice(*here)
            logits = room[: len(rows[block])]
            if here != there:
                gemm(rows[block], weight.T, logits)
            there = None
            run(_backward, threads, logits, chosen[block], q, statistics[block], scale, logits)
            if needs[0]:
                gemm(logits, weight, dx[block])
            if needs[1]:
                product_in(place, logits.T, rows[block])
                place = place._replace(add=True)
        return dx.reshape(x.shape) if needs[0] else None, place.array if needs[1] else None

    return _total(losses, divisor), backward


def _chosen(shape, targets, ignore_index, reduction, label_smoothing):
    """The target of each row of logits of that shape, and what the sum of losses is divided by."""
    counts = check_targets(shape, targets, ignore_index, reduction, label_smoothing)
    chosen = int64_line(targets)
    chosen[~counts] = _IGNORED
    return chosen, np.count_nonzero(counts) if reduction == "mean" else 1


def _label(smoothing, size):
    """q: what the target has beyond the other tokens, and what each of all has."""
    return np.array([1 - smoothing, smoothing / max(size, 1)], np.float32)


def _blocks(count, width):
    """(first, end) of blocks of `count` rows, as equal as can be, of at most LOGITS numbers."""
    parts = max(-(-count * width // LOGITS), 1)
    ends = [count * part // parts for part in range(parts + 1)]
    return [(first, end) for first, end in itertools.pairwise(ends) if first < end]


def _total(losses, divisor):
    return np.asarray(losses.sum(dtype=np.float64) / divisor, np.float32)


@Worker
def _forward(arguments, worker, workers):
    rows, chosen = table(arguments, 0, float32), line(arguments, 1, int64)
    q = line(arguments, 2, float32)
    losses, statistics = line(arguments, 3, float32), table(arguments, 4, float32)
    first, end = share(len(rows), worker, workers)
    for i in range(first, end):
        losses[i] = _ZERO
        if chosen[i] == _IGNORED:
            continue
        row = rows[i]
        largest = _LOWEST
        for j in range(row.size):
            largest = larger(largest, row[j])
        total = _ZERO
        for j in range(row.size):
            total += exp_of_negative(row[j] - largest)
        losses[i] = q[0] * (largest - row[chosen[i]]) + float32(math.log(total))
        if q[1] > _ZERO:
            below = _ZERO
            for j in range(row.size):
                below += largest - row[j]
            losses[i] += q[1] * below
        statistics[i, 0], statistics[i, 1] = largest, _ONE / total


@Worker
def _backward(arguments, worker, workers):
    rows, chosen = table(arguments, 0, float32), line(arguments, 1, int64)
    q = line(arguments, 2, float32)
    statistics, scale = table(arguments, 3, float32), line(arguments, 4, float32)[0]
    drows, rest = table(arguments, 5, float32), q[1] * scale
    first, end = share(len(rows), worker, workers)
    for i in range(first, end):
        out = drows[i]
        if chosen[i] == _IGNORED:
            out[:] = _ZERO
            continue
        row, largest, factor = rows[i], statistics[i, 0], statistics[i, 1] * scale
        for j in range(row.size):
            out[j] = exp_of_negative(row[j] - largest) * factor - rest
        out[chosen[i]] -= q[0] * scale

"""The compiled twin of ops/losses.py's cross-entropy: the softmax is never stored."""

import math

import numpy as np
from numpy import float32, int64

from tinygrad_llm.checks import check_targets
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.parallel import Worker, as_table, line, run, share, table, threads_for
from tinygrad_llm.kernels.polynomials import exp
from tinygrad_llm.kernels.vectors import larger

_ZERO, _ONE, _LOWEST = map(float32, (0, 1, -np.inf))
_IGNORED = -1


def cross_entropy(logits, /, *, targets, ignore_index=-100, reduction="mean"):
    """y = mean over the rows that count of -log softmax(logits)[target];   with n such rows:

    dlogits = (softmax(logits) - onehot(target)) dy / n, and 0 in the rows that do not count.
    Saved: the logits, and of each row the largest and 1 / sum_j exp(logit_j - largest).
    """
    counts = check_targets(logits, targets, ignore_index, reduction)
    shape, rows = logits.shape, as_table(logits)
    chosen = np.where(counts, targets.reshape(-1), _IGNORED).astype(np.int64)
    losses, statistics = np.empty(len(rows), np.float32), np.empty((len(rows), 2), np.float32)
    divisor = np.count_nonzero(counts) if reduction == "mean" else 1
    threads = threads_for(rows.size)
    run(_forward, threads, rows, chosen, losses, statistics)

    def backward(dy):
        drows, scale = empty(rows.shape), np.full(1, dy / divisor, np.float32)
        run(_backward, threads, rows, chosen, statistics, scale, drows)
        return (drows.reshape(shape),)

    return np.asarray(losses.sum(dtype=np.float64) / divisor, np.float32), backward


@Worker
def _forward(arguments, worker, workers):
    rows, chosen = table(arguments, 0, float32), line(arguments, 1, int64)
    losses, statistics = line(arguments, 2, float32), table(arguments, 3, float32)
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
            total += exp(row[j] - largest)
        losses[i] = (largest - row[chosen[i]]) + float32(math.log(total))
        statistics[i, 0], statistics[i, 1] = largest, _ONE / total


@Worker
def _backward(arguments, worker, workers):
    rows, chosen = table(arguments, 0, float32), line(arguments, 1, int64)
    statistics, scale = table(arguments, 2, float32), line(arguments, 3, float32)[0]
    drows = table(arguments, 4, float32)
    first, end = share(len(rows), worker, workers)
    for i in range(first, end):
        out = drows[i]
        if chosen[i] == _IGNORED:
            out[:] = _ZERO
            continue
        row, largest, factor = rows[i], statistics[i, 0], statistics[i, 1] * scale
        for j in range(row.size):
            out[j] = exp(row[j] - largest) * factor
        out[chosen[i]] -= scale

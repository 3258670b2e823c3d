"""The compiled twins of ops/normalize.py. A row is read from memory once and written once.

rms_norm is layer_norm without its mean and bias, log_softmax is softmax in another scale: they share kernels.
"""

import math

import numpy as np
from numba import njit, prange
from numpy import float32

from tinygrad_llm.checks import check_norm
from tinygrad_llm.kernels.polynomials import FASTMATH, exp
from tinygrad_llm.kernels.rows import COMPILE, as_rows, contiguous, run, share
from tinygrad_llm.kernels.vectors import larger

_BLOCK = 32  # rows, whose parts of dw and db are summed before those of other blocks
_ZERO, _ONE, _LOWEST = float32(0), float32(1), float32(-np.inf)


def softmax(x, /, *, axis=-1):
    """y_i = exp x_i / sum_j exp x_j;   dx_i = y_i (dy_i - sum_j y_j dy_j)."""
    return _softmax(x, axis, False)


def log_softmax(x, /, *, axis=-1):
    """y_i = x_i - log sum_j exp x_j;   dx_i = dy_i - exp(y_i) sum_j dy_j."""
    return _softmax(x, axis, True)


def _softmax(x, axis, logarithm):
    rows = np.moveaxis(x, axis, -1)
    y = np.empty(rows.shape, np.float32)
    x_rows, y_rows = as_rows(rows), y.reshape(-1, max(rows.shape[-1], 1))
    run(_softmax_forward, x.size, logarithm, x_rows, y_rows)

    def backward(dy):
        dx = np.empty(y.shape, np.float32)
        dy_rows = as_rows(np.moveaxis(dy, axis, -1))
        run(_softmax_backward, dy.size, logarithm, contiguous(y_rows), dy_rows, dx.reshape(y_rows.shape))
        return (np.moveaxis(dx, -1, axis),)
    return np.moveaxis(y, -1, axis), backward


def layer_norm(x, weight, bias, /, *, eps=1e-5):
    """y = w n + b, n = (x - mean) / s, s = sqrt(var + eps);   with g = w dy:

    dx = (g - mean(g) - n mean(g n)) / s,  dw = sum of dy n,  db = sum of dy over the rows.
    """
    check_norm("layer_norm", x, weight, bias)
    return _norm(x, weight, np.zeros(weight.shape, np.float32) if bias is None else bias, eps, True)


def rms_norm(x, weight, /, *, eps=1e-6):
    """y = w n, n = x / s, s = sqrt(mean(x^2) + eps);   with g = w dy:

    dx = (g - n mean(g n)) / s,  dw = sum of dy n over the rows.
    """
    check_norm("rms_norm", x, weight, None)
    y, norm_backward = _norm(x, weight, np.zeros(weight.shape, np.float32), eps, False)

    def backward(dy):
        return norm_backward(dy)[:2]
    return y, backward


def _norm(x, weight, bias, eps, centred):
    shape, x, weight = x.shape, as_rows(x), contiguous(weight)
    y, statistics = np.empty(shape, np.float32), np.empty((len(x), 2), np.float32)
    run(_norm_forward, x.size, centred, x, weight, contiguous(bias), float32(eps), statistics, y.reshape(x.shape))

    def backward(dy):
        dx = np.empty(shape, np.float32)
        parts = np.empty((-(-len(x) // _BLOCK), 2, len(weight)), np.float32)
        run(_norm_backward, x.size, centred, x, weight, statistics, as_rows(dy), dx.reshape(x.shape), parts)
        return dx, *parts.sum(axis=0)
    return y, backward


@njit(parallel=True, **COMPILE)
def _softmax_forward(logarithm, x, y, threads):
    if threads == 1:
        _softmax_forward_share(logarithm, x, y, 0, 1)
    else:
        for worker in prange(threads):
            _softmax_forward_share(logarithm, x, y, worker, threads)


@njit(parallel=True, **COMPILE)
def _softmax_backward(logarithm, y, dy, dx, threads):
    if threads == 1:
        _softmax_backward_share(logarithm, y, dy, dx, 0, 1)
    else:
        for worker in prange(threads):
            _softmax_backward_share(logarithm, y, dy, dx, worker, threads)


@njit(parallel=True, **COMPILE)
def _norm_forward(centred, x, weight, bias, eps, statistics, y, threads):
    if threads == 1:
        _norm_forward_share(centred, x, weight, bias, eps, statistics, y, 0, 1)
    else:
        for worker in prange(threads):
            _norm_forward_share(centred, x, weight, bias, eps, statistics, y, worker, threads)


@njit(parallel=True, **COMPILE)
def _norm_backward(centred, x, weight, statistics, dy, dx, parts, threads):
    if threads == 1:
        _norm_backward_share(centred, x, weight, statistics, dy, dx, parts, 0, 1)
    else:
        for worker in prange(threads):
            _norm_backward_share(centred, x, weight, statistics, dy, dx, parts, worker, threads)


@njit(error_model="numpy", fastmath=FASTMATH)
def _softmax_forward_share(logarithm, x, y, worker, workers):
    first, end = share(len(x), worker, workers)
    for i in range(first, end):
        row, out = x[i], y[i]
        largest = _LOWEST
        for j in range(row.size):
            largest = larger(largest, row[j])
        total = _ZERO
        if logarithm:
            for j in range(row.size):
                total += exp(row[j] - largest)
            shift = float32(math.log(total))
            for j in range(row.size):
                out[j] = (row[j] - largest) - shift
        else:
            for j in range(row.size):
                out[j] = exp(row[j] - largest)
                total += out[j]
            inverse = _ONE / total
            for j in range(row.size):
                out[j] *= inverse


@njit(error_model="numpy", fastmath=FASTMATH)
def _softmax_backward_share(logarithm, y, dy, dx, worker, workers):
    first, end = share(len(y), worker, workers)
    for i in range(first, end):
        row, d_row, out = y[i], dy[i], dx[i]
        total = _ZERO
        if logarithm:
            for j in range(row.size):
                total += d_row[j]
            for j in range(row.size):
                out[j] = d_row[j] - exp(row[j]) * total
        else:
            for j in range(row.size):
                total += row[j] * d_row[j]
            for j in range(row.size):
                out[j] = row[j] * (d_row[j] - total)


@njit(error_model="numpy", fastmath=FASTMATH)
def _norm_forward_share(centred, x, weight, bias, eps, statistics, y, worker, workers):
    """statistics: mean and 1 / s of each row, for backward."""
    first, end = share(len(x), worker, workers)
    count = float32(weight.size)
    for i in range(first, end):
        row, out = x[i], y[i]
        mean = _ZERO
        if centred:
            for j in range(row.size):
                mean += row[j]
            mean /= count
        square = _ZERO
        for j in range(row.size):
            square += (row[j] - mean) * (row[j] - mean)
        inverse = _ONE / float32(math.sqrt(square / count + eps))
        for j in range(row.size):
            out[j] = (row[j] - mean) * inverse * weight[j] + bias[j]
        statistics[i, 0], statistics[i, 1] = mean, inverse


# Not "contract": fused, d w - mean(d w) of a row with one value would be a rounding error instead of 0.
@njit(error_model="numpy", fastmath=FASTMATH - {"contract"})
def _norm_backward_share(centred, x, weight, statistics, dy, dx, parts, worker, workers):
    first, end = share(len(parts), worker, workers)
    count = float32(weight.size)
    for block in range(first, end):
        dweight, dbias = parts[block, 0], parts[block, 1]
        dweight[:], dbias[:] = _ZERO, _ZERO
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(x))):
            row, d_row, out = x[i], dy[i], dx[i]
            mean, inverse = statistics[i, 0], statistics[i, 1]
            mean_g, mean_gn = _ZERO, _ZERO
            for j in range(row.size):
                g = d_row[j] * weight[j]
                mean_g += g
                mean_gn += g * ((row[j] - mean) * inverse)
            mean_g, mean_gn = mean_g / count if centred else _ZERO, mean_gn / count
            for j in range(row.size):
                n = (row[j] - mean) * inverse
                out[j] = (d_row[j] * weight[j] - mean_g - n * mean_gn) * inverse
                dweight[j] += d_row[j] * n
                dbias[j] += d_row[j]

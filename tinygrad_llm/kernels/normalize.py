"""The compiled twins of ops/normalize.py: a row is read from memory once and written once.

rms_norm is layer_norm without mean and bias, log_softmax is softmax in another scale: they share
workers. Sums over rows are sums over blocks of rows, whatever the number of threads. A loop that
sums writes to no array: LLVM would sum in another order where two arrays lie close together.
"""

import math

import numpy as np
from numba import njit
from numpy import float32, float64

from tinygrad_llm.checks import check_norm
from tinygrad_llm.kernels import again
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.parallel import (
    Worker,
    as_line,
    as_table,
    line,
    number,
    run,
    share,
    table,
    threads_for,
)
from tinygrad_llm.kernels.polynomials import exp
from tinygrad_llm.kernels.vectors import larger

_BLOCK = 32  # rows
_ZERO, _ONE, _LOWEST = map(float32, (0, 1, -np.inf))


def softmax(x, /, *, axis=-1):
    """y_i = exp x_i / sum_j exp x_j;   dx_i = y_i (dy_i - sum_j y_j dy_j)."""
    return _softmax(x, axis, False)


def log_softmax(x, /, *, axis=-1):
    """y_i = x_i - log sum_j exp x_j;   dx_i = dy_i - exp(y_i) sum_j dy_j."""
    return _softmax(x, axis, True)


def _softmax(x, axis, logarithm):
    rows = np.moveaxis(x, axis, -1)
    y, threads = empty(rows.shape), threads_for(x.size)
    run(_softmax_forward, threads, logarithm, as_table(rows), as_table(y))

    def backward(dy):
        dx, dy = empty(y.shape), np.moveaxis(dy, axis, -1)
        run(_softmax_backward, threads, logarithm, as_table(y), as_table(dy), as_table(dx))
        return (np.moveaxis(dx, -1, axis),)

    return np.moveaxis(y, -1, axis), backward


def layer_norm(x, weight, bias, /, *, eps=1e-5):
    """y = w n + b, n = (x - mean) / s, s = sqrt(var + eps);   with g = w dy:

    dx = (g - mean(g) - n mean(g n)) / s,  dw = sum of dy n,  db = sum of dy over the rows.
    """
    check_norm("layer_norm", x, weight, bias)
    bias = np.zeros(weight.shape, np.float32) if bias is None else bias
    return _norm(x, weight, bias, eps, True)


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
    shape, x, weight, bias = x.shape, as_table(x), as_line(weight), as_line(bias)
    statistics, eps = empty((len(x), 2)), np.full(1, eps, np.float32)
    threads = threads_for(x.size)

    def forward():
        y = empty(shape)
        run(_norm_forward, threads, centred, x, weight, bias, eps, statistics, as_table(y))
        return y

    y = forward()
    again.can_make(y, forward)

    def backward(dy):
        dx = empty(shape)
        sums = empty((2, -(-len(x) // _BLOCK), len(weight)))
        run(
            _norm_backward,
            threads,
            centred,
            x,
            weight,
            statistics,
            as_table(dy),
            as_table(dx),
            *sums,
        )
        return dx, *sums.sum(axis=1)

    return y, backward


# Not FASTMATH: it would add the two first, which rounds off the smaller one.
@njit(fastmath={"contract"}, **INNER)
def _less(x, largest, shift):
    return (x - largest) - shift


# Not FASTMATH: it would estimate the root and refine it, which makes NaN of infinity.
@njit(fastmath={"contract"}, **INNER)
def _inverse_root(x):
    return _ONE / float32(math.sqrt(x))


@Worker
def _softmax_forward(arguments, worker, workers):
    logarithm, x = number(arguments, 0), table(arguments, 1, float32)
    y = table(arguments, 2, float32)
    first, end = share(len(x), worker, workers)
    for i in range(first, end):
        row, out = x[i], y[i]
        largest = _LOWEST
        for j in range(row.size):
            largest = larger(largest, row[j])
        total = _ZERO
        if logarithm:
            exact = float64(0)
            for j in range(row.size):
                exact += float64(exp(row[j] - largest))
            shift = float32(math.log(exact))
            for j in range(row.size):
                out[j] = _less(row[j], largest, shift)
        else:
            for j in range(row.size):
                out[j] = exp(row[j] - largest)
            for j in range(row.size):
                total += out[j]
            inverse = _ONE / total
            for j in range(row.size):
                out[j] *= inverse


@Worker
def _softmax_backward(arguments, worker, workers):
    logarithm, y = number(arguments, 0), table(arguments, 1, float32)
    dy, dx = table(arguments, 2, float32), table(arguments, 3, float32)
    first, end = share(len(y), worker, workers)
    for i in range(first, end):
        row, d_row, out = y[i], dy[i], dx[i]
        if logarithm:
            exact = float64(0)  # it is multiplied by weights of up to 1
            for j in range(row.size):
                exact += float64(d_row[j])
            total = float32(exact)
            for j in range(row.size):
                out[j] = d_row[j] - exp(row[j]) * total
        else:
            total = _ZERO
            for j in range(row.size):
                total += row[j] * d_row[j]
            for j in range(row.size):
                out[j] = row[j] * (d_row[j] - total)


@Worker
def _norm_forward(arguments, worker, workers):
    """statistics: mean and 1 / s of each row, for backward."""
    centred, x = number(arguments, 0), table(arguments, 1, float32)
    weight, bias = line(arguments, 2, float32), line(arguments, 3, float32)
    eps, statistics = line(arguments, 4, float32)[0], table(arguments, 5, float32)
    y = table(arguments, 6, float32)
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
        inverse = _inverse_root(square / count + eps)
        for j in range(row.size):
            out[j] = (row[j] - mean) * inverse * weight[j] + bias[j]
        statistics[i, 0], statistics[i, 1] = mean, inverse


@Worker
def _norm_backward(arguments, worker, workers):
    """dx, and the sums over each block of rows that dw and db are made of."""
    centred, x = number(arguments, 0), table(arguments, 1, float32)
    weight, statistics = line(arguments, 2, float32), table(arguments, 3, float32)
    dy, dx = table(arguments, 4, float32), table(arguments, 5, float32)
    dweights, dbiases = table(arguments, 6, float32), table(arguments, 7, float32)
    first, end = share(len(dweights), worker, workers)
    count = float32(weight.size)
    for block in range(first, end):
        dweight, dbias = dweights[block], dbiases[block]
        dweight[:], dbias[:] = _ZERO, _ZERO
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(x))):
            row, d_row, out = x[i], dy[i], dx[i]
            mean, inverse = statistics[i, 0], statistics[i, 1]
            mean_g, mean_gn = _ZERO, _ZERO
            for j in range(row.size):
                out[j] = d_row[j] * weight[j]
            for j in range(row.size):
                mean_g += out[j]
                mean_gn += out[j] * ((row[j] - mean) * inverse)
            mean_g, mean_gn = mean_g / count if centred else _ZERO, mean_gn / count
            for j in range(row.size):
                n = (row[j] - mean) * inverse
                out[j] = (out[j] - mean_g - n * mean_gn) * inverse
                dweight[j] += d_row[j] * n
                dbias[j] += d_row[j]

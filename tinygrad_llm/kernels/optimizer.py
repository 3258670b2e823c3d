"""The compiled twins of ops/optimizer.py: each passes once over the memory of the parameters."""

import math

import numpy as np
from numpy import float32, float64

from tinygrad_llm.kernels.parallel import Worker, as_line, line, part, run, share, threads_for

_BLOCK = 8192  # numbers, whose squares are summed before those of other blocks


def adamw(
    weights, gradients, mean, square, /, *, lr, beta1, beta2, eps, weight_decay, step, scale=1.0
):
    """w <- (1 - lr decay) w - lr m' / (sqrt(v') + eps), all in place, flat arrays of one length.

    g = scale * gradient;  m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2;
    m' = m / (1 - beta1^step), v' = v / (1 - beta2^step). step counts from 1. Raises where an
    array is not float32 without gaps, which the compiled code takes for granted.
    """
    for x in (weights, gradients, mean, square):
        if x.dtype != np.float32 or x.shape != (weights.size,) or not x.flags.c_contiguous:
            raise ValueError(
                f"adamw: needs float32 arrays of shape ({weights.size},) without "
                f"gaps; got {x.dtype} {x.shape} with strides {x.strides}"
            )
    settings = np.array(
        [
            scale,
            1 - beta1,
            beta2,
            1 - beta2,
            1 / math.sqrt(1 - beta2**step),
            eps,
            1 - lr * weight_decay,
            lr / (1 - beta1**step),
        ],
        np.float32,
    )
    run(_adamw, threads_for(weights.size), weights, gradients, mean, square, settings)


def square_norm(gradients, /):
    """The sum of squares, in float64: clipping compares its root with the limit."""
    parts = np.empty(-(-gradients.size // _BLOCK), np.float64)
    run(_square_norm, threads_for(gradients.size), as_line(gradients), parts)
    return float(parts.sum())


@Worker
def _adamw(arguments, worker, workers):
    weights = part(line(arguments, 0, float32), worker, workers)
    gradients = part(line(arguments, 1, float32), worker, workers)
    mean = part(line(arguments, 2, float32), worker, workers)
    square = part(line(arguments, 3, float32), worker, workers)
    settings = line(arguments, 4, float32)
    scale, new_mean, old_square, new_square = settings[0], settings[1], settings[2], settings[3]
    correction, eps, keep, rate = settings[4], settings[5], settings[6], settings[7]
    for i in range(weights.size):
        g = gradients[i] * scale
        m = mean[i] + new_mean * (g - mean[i])
        v = square[i] * old_square + new_square * g * g
        mean[i], square[i] = m, v
        weights[i] = weights[i] * keep - rate * m / (float32(math.sqrt(v)) * correction + eps)


@Worker
def _square_norm(arguments, worker, workers):
    gradients, parts = line(arguments, 0, float32), line(arguments, 1, float64)
    first, end = share(parts.size, worker, workers)
    for i in range(first, end):
        total = float64(0)
        for g in gradients[i * _BLOCK : (i + 1) * _BLOCK]:
            total += float64(g) * float64(g)
        parts[i] = total

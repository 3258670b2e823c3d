"""The update of the weights. It has no backward, and it alone writes into arrays it was given."""

import math

import numpy as np


def adamw(
    weights, gradients, mean, square, /, *, lr, beta1, beta2, eps, weight_decay, step, scale=1.0
):
    """w <- (1 - lr decay) w - lr m' / (sqrt(v') + eps), all in place, flat arrays of one length.

    g = scale * gradient (clipping);  m <- beta1 m + (1 - beta1) g,  m' = m / (1 - beta1^step);
    v <- beta2 v + (1 - beta2) g^2,  v' = v / (1 - beta2^step). step counts from 1.
    Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2, the decay scaled as PyTorch does.
    """
    g = gradients * scale
    mean += (1 - beta1) * (g - mean)
    square *= beta2
    square += (1 - beta2) * g * g
    denominator = np.sqrt(square) * (1 / math.sqrt(1 - beta2**step)) + eps
    weights *= 1 - lr * weight_decay
    weights -= (lr / (1 - beta1**step)) * mean / denominator


def square_norm(gradients, /):
    """The sum of squares, in float64: clipping compares its root with the limit."""
    return float(np.dot(gradients.astype(np.float64), gradients))

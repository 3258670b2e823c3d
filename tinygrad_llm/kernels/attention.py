"""The compiled twin of ops/attention.py: scores are made block by block, T x S is never stored.

Dao et al. 2022, arXiv 2205.14135 (FlashAttention), for a CPU: forward keeps two numbers for each
row of scores, backward makes the scores again. Tiles above a causal diagonal are never touched.
"""

import itertools
import math

import numpy as np

from tinygrad_llm.checks import check_attention, check_heads
from tinygrad_llm.kernels import attention_backward, attention_forward, attention_step
from tinygrad_llm.kernels.buffers import ALIGNMENT, empty, scratch
from tinygrad_llm.kernels.parallel import run, threads_for
from tinygrad_llm.kernels.selection import hash_settings
from tinygrad_llm.kernels.simd import FLOAT_BYTES

_CHEAP = 16  # products of numbers that cost as much as another kernel's work on one number
_NO_MASK = np.ones((1, 1, 1, 1), bool)  # nobody reads it


def scaled_dot_product_attention(
    q, k, v, /, *, mask=None, is_causal=False, dropout_p=0.0, seed=0, scale=None
):
    """y = W v, W = softmax(scale q k^T) over the keys that are allowed;   with dW = dy v^T:

    dS = scale W (dW - sum_s W dW),  dq = dS k,  dk = dS^T q,  dv = W^T dy;  sum_s W dW = dy y.
    Shapes and settings as in ops/attention.py. y, dq, dk and dv lie in memory as (B, T, H, D), so
    that joining the heads again copies nothing.
    """
    check_attention(q, k, v, mask, dropout_p)
    q, k, v = map(_without_gaps, (q, k, v))
    (b, h, t, d), (g, s) = q.shape, k.shape[1:3]
    scale = 1 / math.sqrt(max(d, 1)) if scale is None else scale
    sizes = np.array(
        [
            b,
            h,
            h // g,
            t,
            s,
            d,
            is_causal,
            mask is not None,
            dropout_p > 0,
            *hash_settings(dropout_p, seed),
        ]
    )
    scales = np.array([scale, 1 / (1 - dropout_p)], np.float32)
    mask = _NO_MASK if mask is None else np.broadcast_to(mask, (b, h, t, s))
    y, statistics = _heads_inside(q.shape), empty((b, h, t, 2))
    inputs = sizes, scales, q, k, v, mask, y, statistics
    threads = threads_for(q.size * s // _CHEAP)
    if attention_step.fits(t, s, d, mask is not _NO_MASK, dropout_p > 0):
        heads, places = attention_step.heads, attention_step.sizes(s, d, h // g)
    else:
        heads, places = attention_forward.heads, attention_forward.sizes(s, d)
    run(heads, threads, *inputs, *_workspace(places, threads))

    def backward(dy):
        gradients = _gradients(q.shape, k.shape)
        run(
            attention_backward.heads,
            threads,
            *inputs,
            _without_gaps(dy),
            *gradients,
            *_workspace(attention_backward.sizes(t, d), threads),
        )
        return gradients

    return y, backward


def split_heads(x, /, *, heads):
    """(B, H, T, D) for each number H in `heads`, as views of x (B, T, sum(heads) D);   dx joins dy.

    The gradients of attention above lie in memory as dx does: then nothing is copied.
    """
    check_heads(x, heads)
    b, t, width = shape = x.shape
    every = x.reshape(b, t, sum(heads), width // sum(heads)).swapaxes(1, 2)

    def backward(dys):
        joined = _joined(dys, shape)
        if joined is None:
            joined = empty((b, t, sum(heads), width // sum(heads)))
            np.concatenate(dys, axis=1, out=joined.swapaxes(1, 2))
            joined = joined.reshape(shape)
        return (joined,)

    ends = list(itertools.accumulate(heads))
    return tuple(every[:, end - h : end] for h, end in zip(heads, ends)), backward


def _joined(parts, shape):
    """The array (B, T, D) whose heads, one after another, are those of the parts; None if they lie
    otherwise.
    """
    (_, t, width), owner = shape, parts[0].base
    row = width * FLOAT_BYTES
    strides = (t * row, parts[0].shape[3] * FLOAT_BYTES, row, FLOAT_BYTES)
    start = place = parts[0].ctypes.data
    for part in parts:
        if part.base is not owner or part.strides != strides or part.ctypes.data != place:
            return None
        place += part.shape[1] * strides[1]
    if not isinstance(owner, np.ndarray) or place != start + row:
        return None
    return np.ndarray(shape, np.float32, owner, start - owner.ctypes.data)


def _without_gaps(x):
    """x in float32, itself if the numbers of its rows lie side by side, else a copy."""
    side_by_side = x.strides[3] == FLOAT_BYTES or x.shape[3] < 2
    return x if x.dtype == np.float32 and side_by_side else np.ascontiguousarray(x, np.float32)


def _heads_inside(shape):
    b, h, t, d = shape
    return empty((b, t, h, d)).swapaxes(1, 2)


def _gradients(q_shape, k_shape):
    """Memory for dq, dk and dv.

    If it can be, it is one (B, T, 3, H, D): as the one product lies that q, k and v come from.
    """
    if q_shape != k_shape:
        return tuple(map(_heads_inside, (q_shape, k_shape, k_shape)))
    b, h, t, d = q_shape
    return tuple(empty((b, t, 3, h, d)).transpose(2, 0, 3, 1, 4))


def _workspace(sizes, threads):
    """Scratch memory with places of these sizes for each thread; offsets in bytes, then their
    sum.
    """
    whole_lines = (-(-size * FLOAT_BYTES // ALIGNMENT) * ALIGNMENT for size in sizes)
    places = [0, *itertools.accumulate(whole_lines)]
    return scratch(places[-1] // FLOAT_BYTES * threads), np.array(places)

"""The compiled twin of ops/attention.py: scores are made block by block and thrown away, T x S is never stored.

Dao et al. 2022, arXiv 2205.14135 (FlashAttention), for a CPU: forward keeps two numbers for each row of scores,
backward makes the scores again. Causal tiles above the diagonal are never touched.
"""

import math

import numpy as np
from numba import njit, prange, types

from tinygrad_llm.checks import check_attention
from tinygrad_llm.kernels import attention_backward, attention_forward
from tinygrad_llm.kernels.attention_tiles import FLOAT_BYTES, PROBLEM, Problem, address_of
from tinygrad_llm.kernels.buffers import ALIGNMENT, scratch
from tinygrad_llm.kernels.rows import COMPILE
from tinygrad_llm.kernels.selection import hash_settings
from tinygrad_llm.kernels.threads import get_num_threads, parallel_lock

_SMALL = 300_000  # products of numbers, below which a second thread costs more than it brings


def scaled_dot_product_attention(q, k, v, /, *, mask=None, is_causal=False, dropout_p=0.0,
                                 seed=0, scale=None):
    """y = W v, W = softmax(scale q k^T) over the keys that are allowed;   with dW = dy v^T:

    dS = scale W (dW - sum_s W dW),  dq = dS k,  dk = dS^T q,  dv = W^T dy;  sum_s W dW = dy y.
    Shapes and settings as in ops/attention.py. y, dq, dk and dv lie in memory as (B, T, H, D), so that joining
    the heads again copies nothing.
    """
    check_attention(q, k, v, mask, dropout_p)
    (b, h, t, d), s = q.shape, k.shape[2]
    scale = 1 / math.sqrt(max(d, 1)) if scale is None else scale
    problem = Problem(t, s, d, np.float32(scale), bool(is_causal), mask is not None, dropout_p > 0,
                      *hash_settings(dropout_p, seed), np.float32(1 / (1 - dropout_p)))
    mask = np.broadcast_to(True if mask is None else mask, (b, h, t, s))
    y, statistics = _heads_inside(q.shape), np.empty((b, h, t, 2), np.float32)
    inputs = problem, q, k, v, mask, y, statistics
    _run(_forward, inputs, attention_forward.sizes(s, d))

    def backward(dy):
        gradients = _gradients(q.shape, k.shape)
        _run(_backward, (*inputs, dy, *gradients), attention_backward.sizes(t, d))
        return gradients
    return y, backward


def _heads_inside(shape):
    b, h, t, d = shape
    return np.empty((b, t, h, d), np.float32).swapaxes(1, 2)


def _gradients(q_shape, k_shape):
    """Memory for dq, dk, dv: where it can be, one (B, T, 3, H, D), the shape that one product made q, k, v in."""
    if q_shape != k_shape:
        return tuple(map(_heads_inside, (q_shape, k_shape, k_shape)))
    b, h, t, d = q_shape
    return tuple(np.empty((b, t, 3, h, d), np.float32).transpose(2, 0, 3, 1, 4))


def _run(kernel, arguments, sizes):
    """sizes: the numbers of scratch memory that a thread needs at each place."""
    whole_lines = [-(-size * FLOAT_BYTES // ALIGNMENT) * ALIGNMENT for size in sizes]
    *places, total = np.cumsum([0, *whole_lines])
    problem, q = arguments[:2]
    work = q.size * problem.keys
    threads = 1 if work < _SMALL else get_num_threads()
    arguments = *arguments, scratch(total // FLOAT_BYTES * threads), np.array(places), total, threads
    if threads == 1:
        kernel(*arguments)
        return
    with parallel_lock:
        kernel(*arguments)


_READ, _MASK = (types.Array(kind, 4, "A", readonly=True) for kind in (types.float32, types.boolean))
_WRITE, _STATISTICS = types.Array(types.float32, 4, "A"), types.Array(types.float32, 4, "C")
_ROOM = types.float32[::1], types.int64[::1], types.int64


@njit(types.void(PROBLEM, _READ, _READ, _READ, _MASK, _WRITE, _STATISTICS, *_ROOM, types.int64),
      parallel=True, **COMPILE)
def _forward(problem, q, k, v, mask, y, statistics, room, places, size, threads):
    start = address_of(room)
    if threads == 1:
        attention_forward.heads(problem, q, k, v, mask, y, statistics, start + places, 0, 1)
    else:
        for worker in prange(threads):
            mine = start + worker * size + places
            attention_forward.heads(problem, q, k, v, mask, y, statistics, mine, worker, threads)


@njit(types.void(PROBLEM, _READ, _READ, _READ, _MASK, _READ, _STATISTICS, _READ, _WRITE, _WRITE, _WRITE, *_ROOM,
                 types.int64), parallel=True, **COMPILE)
def _backward(problem, q, k, v, mask, y, statistics, dy, dq, dk, dv, room, places, size, threads):
    start = address_of(room)
    if threads == 1:
        attention_backward.heads(problem, q, k, v, mask, y, statistics, dy, dq, dk, dv, start + places, 0, 1)
    else:
        for worker in prange(threads):
            mine = start + worker * size + places
            attention_backward.heads(problem, q, k, v, mask, y, statistics, dy, dq, dk, dv, mine, worker, threads)

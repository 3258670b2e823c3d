"""The compiled twin of ops/attention.py: scores are made a panel at a time and thrown away, T x S is never stored.

Dao et al. 2022, arXiv 2205.14135 (FlashAttention), for a CPU: forward keeps two numbers of each row of scores,
backward makes the scores again. Causal panels above the diagonal are never touched.
"""

import math

import numpy as np
from numba import njit, prange, types

from tinygrad_llm.checks import check_attention
from tinygrad_llm.kernels import attention_backward, attention_forward
from tinygrad_llm.kernels.attention_tiles import RULES, Rules
from tinygrad_llm.kernels.buffers import scratch
from tinygrad_llm.kernels.rows import COMPILE
from tinygrad_llm.kernels.selection import hash_settings
from tinygrad_llm.kernels.threads import get_num_threads, parallel_lock

_SMALL = 300_000  # products of numbers, below which a second thread costs more than it brings


def scaled_dot_product_attention(q, k, v, /, *, mask=None, is_causal=False, dropout_p=0.0,
                                 seed=0, scale=None):
    """y = W v, W = softmax(scale q k^T) over the keys that are allowed;   with dW = dy v^T:

    dS = scale W (dW - sum_s W dW),  dq = dS k,  dk = dS^T q,  dv = W^T dy, where sum_s W dW = dy y.
    Shapes and settings as in ops/attention.py. y, dq, dk and dv lie in memory as (B, T, H, D), so that joining
    the heads again copies nothing.
    """
    check_attention(q, k, v, mask, dropout_p)
    (b, h, t, d), (g, s) = q.shape, k.shape[1:3]
    rules = _rules(1 / math.sqrt(d) if scale is None else scale, mask, is_causal, dropout_p, seed)
    mask = np.broadcast_to(True if mask is None else mask, (b, h, t, s))
    y = np.empty((b, t, h, d), np.float32).swapaxes(1, 2)
    statistics = np.empty((b, h, t, 2), np.float32)
    _run(_forward, (q, k, v, mask, rules, y, statistics), attention_forward.workspace(s, d))

    def backward(dy):
        dq, dk, dv = _gradients(q.shape, k.shape)
        _run(_backward, (q, k, v, mask, rules, y, statistics, dy, dq, dk, dv), attention_backward.workspace(t, s, d))
        return dq, dk, dv
    return y, backward


def _rules(scale, mask, is_causal, dropout_p, seed):
    first, second, threshold = hash_settings(dropout_p, seed)
    return Rules(np.float32(scale), mask is not None, bool(is_causal), dropout_p > 0,
                 first, second, threshold, np.float32(1 / (1 - dropout_p)))


def _gradients(q_shape, k_shape):
    """Memory for dq, dk and dv: one (B, T, 3, H, D) where it can be one, as the projection that made q, k, v wants it."""
    if q_shape == k_shape:
        b, h, t, d = q_shape
        return tuple(np.moveaxis(np.empty((b, t, 3, h, d), np.float32), 2, 0).swapaxes(2, 3))
    return tuple(np.empty((b, n, h, d), np.float32).swapaxes(1, 2) for b, h, n, d in (q_shape, k_shape, k_shape))


def _run(kernel, arguments, workspace):
    q, k = arguments[:2]
    if q.size * k.shape[2] < _SMALL or (threads := get_num_threads()) == 1:
        kernel(*arguments, scratch(workspace), workspace, 1)
        return
    with parallel_lock:
        kernel(*arguments, scratch(workspace * threads), workspace, threads)


_READ, _MASK = (types.Array(kind, 4, "A", readonly=True) for kind in (types.float32, types.boolean))
_WRITE, _STATISTICS = types.Array(types.float32, 4, "A"), types.Array(types.float32, 4, "C")
_WORKSPACE = types.Array(types.float32, 1, "C")
_INPUTS = [_READ, _READ, _READ, _MASK, RULES, _READ, _STATISTICS]


@njit(types.void(*_INPUTS[:5], _WRITE, _STATISTICS, _WORKSPACE, types.int64, types.int64), parallel=True, **COMPILE)
def _forward(q, k, v, mask, rules, y, statistics, room, size, threads):
    if threads == 1:
        attention_forward.heads(q, k, v, mask, rules, y, statistics, room, size, 0, 1)
    else:
        for worker in prange(threads):
            attention_forward.heads(q, k, v, mask, rules, y, statistics, room, size, worker, threads)


@njit(types.void(*_INPUTS, _READ, _WRITE, _WRITE, _WRITE, _WORKSPACE, types.int64, types.int64), parallel=True, **COMPILE)
def _backward(q, k, v, mask, rules, y, statistics, dy, dq, dk, dv, room, size, threads):
    if threads == 1:
        attention_backward.heads(q, k, v, mask, rules, y, statistics, dy, dq, dk, dv, room, size, 0, 1)
    else:
        for worker in prange(threads):
            attention_backward.heads(q, k, v, mask, rules, y, statistics, dy, dq, dk, dv, room, size, worker, threads)

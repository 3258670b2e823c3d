"""Scaled dot-product attention: each query reads a weighted mean of the values.

Vaswani et al. 2017, arXiv 1706.03762, section 3.2. One function for every model: causal (GPT),
padded (BERT), cross (encoder-decoder), grouped keys (Llama).
"""

import math

import numpy as np

from tinygrad_llm.checks import check_attention, check_heads, check_joinable
from tinygrad_llm.ops.selection import keep


def scaled_dot_product_attention(
    q, k, v, /, *, mask=None, is_causal=False, dropout_p=0.0, seed=0, scale=None
):
    """y = W v, W = softmax(scale q k^T) over the keys that are allowed;   with dW = dy v^T:

    dS = scale W (dW - sum_s W dW),  dq = dS k,  dk = dS^T q,  dv = W^T dy.
    q (B, H, T, D), k and v (B, G, S, D), H a multiple of G: each key head serves H/G query heads.
    y is shaped like q. mask: bool, True = may attend, broadcast to (B, H, T, S). is_causal: query t
    sees keys s <= t + S - T, so the last query sees all. A query that may see no key gives 0.
    dropout_p drops entries of W. scale: 1/sqrt(D) unless given. What a query may not see counts 0:
    a NaN there in v reaches it nevertheless, as 0 NaN is NaN, except where a kernel skips the tile.
    """
    check_attention(q, k, v, mask, dropout_p)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    groups = q.shape[1] // k.shape[1]
    k_all, v_all = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    weights = attention_weights(q, k_all, mask, is_causal, scale)  # (B, H, T, S)
    kept = _kept(weights, dropout_p, seed)

    def backward(dy, needs):
        dq = dk = dv = None
        if needs[2]:
            dv = _sum_groups((weights * kept).swapaxes(-1, -2) @ dy, groups)
        if needs[0] or needs[1]:
            dweights = (dy @ v_all.swapaxes(-1, -2)) * kept
            mean = np.sum(weights * dweights, axis=-1, keepdims=True)
            dscores = weights * (dweights - mean) * scale
            dq = dscores @ k_all if needs[0] else None
            dk = _sum_groups(dscores.swapaxes(-1, -2) @ q, groups) if needs[1] else None
        return dq, dk, dv

    return (weights * kept) @ v_all, backward


def split_heads(x, /, *, heads):
    """(B, H, T, D) for each number H in `heads`, as views of x (B, T, sum(heads) D);   dx joins dy.

    heads (H, G, G): the queries, keys and values of one projection.
    """
    check_heads(x, heads)
    b, t, width = x.shape
    every = x.reshape(b, t, sum(heads), width // sum(heads)).swapaxes(1, 2)  # (B, sum(heads), T, D)

    def backward(dys):
        return (np.concatenate(dys, axis=1).swapaxes(1, 2).reshape(b, t, width),)

    return tuple(np.split(every, np.cumsum(heads)[:-1], axis=1)), backward


def join_heads(x, /):
    """y (B, T, H D): the heads of x (B, H, T, D) side by side;   dx is dy, cut the same way."""
    check_joinable(x)
    b, h, t, d = x.shape

    def backward(dy):
        return (dy.reshape(b, t, h, d).swapaxes(1, 2),)

    return x.swapaxes(1, 2).reshape(b, t, h * d), backward


def attention_weights(q, k, mask, is_causal, scale):
    """softmax(scale q k^T) over the allowed keys, (B, H, T, S); a row that allows none is 0."""
    scores = (q @ k.swapaxes(-1, -2)) * scale
    allowed = allowed_keys(scores.shape, mask, is_causal)
    if allowed is not None:
        scores = np.where(allowed, scores, np.asarray(-np.inf, scores.dtype))
    largest = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(largest == -np.inf, np.zeros_like(largest), largest))
    total = np.sum(weights, axis=-1, keepdims=True)
    return weights / np.where(total == 0, np.ones_like(total), total)


def allowed_keys(shape, mask, is_causal):
    """The keys each query may see: bools that broadcast to (B, H, T, S), or None for all."""
    if not is_causal:
        return mask
    queries, keys = shape[-2:]
    causal = np.tri(queries, keys, keys - queries, dtype=bool)
    return causal if mask is None else causal & mask


def _kept(weights, dropout_p, seed):
    """What dropout leaves of each weight: 0 or 1 / (1 - p); without dropout the number 1."""
    if dropout_p == 0:
        return 1
    scale = np.asarray(1 / (1 - dropout_p), weights.dtype)
    return keep(weights.shape, p=dropout_p, seed=seed) * scale


def _sum_groups(gradient, groups):
    """The heads that shared one key head give it the sum of their gradients."""
    b, h, s, d = gradient.shape
    return gradient.reshape(b, h // groups, groups, s, d).sum(axis=2)

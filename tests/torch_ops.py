"""PyTorch's operation for each of ours, of tensors, with our settings."""

import math
import operator

import torch
from torch.nn import functional as F

from tinygrad_llm.ops.selection import keep


def indices(index):
    """A NumPy index as PyTorch takes it: no negative steps (those are flipped by the caller)."""
    parts = index if isinstance(index, tuple) else (index,)
    turned = tuple(torch.as_tensor(p) if hasattr(p, "dtype") else p for p in parts)
    return turned if isinstance(index, tuple) else turned[0]


def getitem(x, index):
    parts = index if isinstance(index, tuple) else (index,)
    backwards = [i for i, p in enumerate(parts) if isinstance(p, slice) and p.step == -1]
    if not backwards:
        return x[indices(index)]
    return x.flip(-1 if parts[0] is Ellipsis else backwards[0])


def reduce(f):
    def reduction(x, axis, keepdims):
        if axis is None:
            y = f(x)
            return y.reshape((1,) * x.ndim) if keepdims else y
        return f(x, dim=axis, keepdim=keepdims)

    return reduction


def extreme(f):
    def reduction(x, axis, keepdims):
        return f(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)

    return reduction


def var(x, axis, correction, keepdims):
    axes = tuple(range(x.ndim)) if axis is None else axis
    return torch.var(x, dim=axes, correction=correction, keepdim=keepdims)


def squeeze(x, axis):
    return x.squeeze() if axis is None else x.squeeze(axis)


def split(x, sizes, axis):
    return x.split(sizes, dim=axis)


def split_heads(x, heads):
    b, t, width = x.shape
    every = x.reshape(b, t, sum(heads), width // sum(heads))
    return tuple(part.transpose(1, 2) for part in every.split(list(heads), dim=2))


def join_heads(x):
    b, h, t, d = x.shape
    return x.transpose(1, 2).reshape(b, t, h * d)


def dropout(x, p, seed):
    kept = torch.as_tensor(keep(tuple(x.shape), p=p, seed=seed))
    return x * kept / (1 - p)


def linear_residual(x, weight, bias, residual, dropout_p=0.0, seed=0):
    return residual + dropout(F.linear(x, weight, bias), dropout_p, seed)


def feed_forward(x, w1, b1, w2, b2, residual, approximate="none", **settings):
    g = F.gelu(F.linear(x, w1, b1), approximate=approximate)
    return linear_residual(g, w2, b2, residual, **settings)


def swiglu(x, w_gate, b_gate, w_up, b_up, w_down, b_down, residual):
    m = F.silu(F.linear(x, w_gate, b_gate)) * F.linear(x, w_up, b_up)
    return residual + F.linear(m, w_down, b_down)


def attention(q, k, v, mask=None, is_causal=False, dropout_p=0.0, seed=0, scale=None):
    groups, (t, s) = q.shape[1] // k.shape[1], (q.shape[2], k.shape[2])
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    allowed = torch.ones(t, s, dtype=torch.bool)
    if is_causal:
        allowed = allowed.tril(s - t)
    if mask is not None:
        allowed = allowed & torch.as_tensor(mask)
    if not dropout_p:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale)
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1)
    return dropout(weights, dropout_p, seed) @ v


def rotary(x, cos, sin):
    """As a product of complex numbers."""
    a, b = x.chunk(2, -1)
    turns = torch.complex(torch.as_tensor(cos).to(x.dtype), torch.as_tensor(sin).to(x.dtype))
    turned = torch.complex(a, b) * turns
    return torch.cat([turned.real, turned.imag], -1)


def cross_entropy(logits, targets, **settings):
    rows, ids = logits.reshape(-1, logits.shape[-1]), torch.as_tensor(targets).reshape(-1)
    return F.cross_entropy(rows, ids, **settings)


def linear_cross_entropy(x, weight, **settings):
    return cross_entropy(x @ weight.T, **settings)


TORCH = {
    **{
        name: getattr(torch, name)
        for name in (
            "negative",
            "exp",
            "log",
            "sqrt",
            "abs",
            "clip",
            "relu",
            "sigmoid",
            "tanh",
            "matmul",
        )
    },
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "maximum": lambda a, b: torch.maximum(torch.as_tensor(a), torch.as_tensor(b)),
    "minimum": lambda a, b: torch.minimum(torch.as_tensor(a), torch.as_tensor(b)),
    "silu": F.silu,
    "gelu": F.gelu,
    "linear": F.linear,
    "feed_forward": feed_forward,
    "swiglu": swiglu,
    "linear_residual": linear_residual,
    "mse_loss": F.mse_loss,
    "sum": reduce(torch.sum),
    "mean": reduce(torch.mean),
    "var": var,
    "max": extreme(torch.amax),
    "min": extreme(torch.amin),
    "broadcast_to": lambda x, shape: x.broadcast_to(shape),
    "reshape": torch.reshape,
    "transpose": lambda x, axis0, axis1: x.transpose(axis0, axis1),
    "permute": lambda x, axes: x.permute(axes),
    "squeeze": squeeze,
    "unsqueeze": lambda x, axis: x.unsqueeze(axis),
    "concatenate": lambda *parts, axis: torch.cat(parts, axis),
    "stack": lambda *parts, axis: torch.stack(parts, axis),
    "split": split,
    "getitem": getitem,
    "where": lambda a, b, condition: torch.where(torch.as_tensor(condition), a, b),
    "masked_fill": lambda x, mask, value: torch.where(torch.as_tensor(mask), value, x),
    "embedding": lambda weight, ids: F.embedding(torch.as_tensor(ids), weight),
    "dropout": dropout,
    "softmax": lambda x, axis: x.softmax(axis),
    "log_softmax": lambda x, axis: x.log_softmax(axis),
    "layer_norm": lambda x, w, b, eps: F.layer_norm(x, w.shape, w, b, eps),
    "rms_norm": lambda x, w, eps: F.rms_norm(x, w.shape, w, eps),
    "scaled_dot_product_attention": attention,
    "split_heads": split_heads,
    "join_heads": join_heads,
    "rotary": rotary,
    "cross_entropy": cross_entropy,
    "linear_cross_entropy": linear_cross_entropy,
}

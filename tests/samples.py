"""Samples for every operation of the table: operands and settings, at any shape.

Values are distinct and away from 0, so that no sample stands on a kink of relu, abs, clip or max.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

SHAPES = [(), (1,), (5,), (3, 4), (2, 1, 7), (0, 3)]


class Sample(NamedTuple):
    operands: tuple
    settings: dict


def sample(*operands, **settings):
    return Sample(operands, settings)


def values(rng, shape, offset=0.3):
    """Distinct float64 numbers in (-2, 2), none of them 0."""
    n = math.prod(shape)
    grid = (rng.permutation(n) + offset - n / 2) * (4 / max(n, 1))
    return grid.reshape(shape)


def positive(rng, shape, offset=0.3):
    return np.asarray(np.abs(values(rng, shape, offset)) + 0.5)


def partner(rng, shape):
    """A shape that broadcasts with `shape`: axes of size 1, leading ones missing or added."""
    sizes = [1 if rng.random() < 0.3 else n for n in shape]
    cut = int(rng.integers(len(shape) + 1)) if rng.random() < 0.3 else 0
    return (2, *sizes) if rng.random() < 0.1 else tuple(sizes[cut:])


def unary(draw=values, **settings):
    return lambda rng, shape: sample(draw(rng, shape), **settings)


def binary(draw=values):
    """Two arrays that broadcast, or an array and a Python number on either side."""

    def make(rng, shape):
        a, b = draw(rng, shape), draw(rng, partner(rng, shape), 1 / math.sqrt(2))
        kind = rng.integers(5)
        return sample(a, 1.5) if kind == 0 else sample(2.5, a) if kind == 1 else sample(a, b)

    return make


def power(rng, shape):
    kind = rng.integers(4)
    if kind == 0:
        return sample(values(rng, shape), 3)
    return sample(2.5, values(rng, shape)) if kind == 1 else binary(positive)(rng, shape)


def clip(rng, shape):
    bounds = [{"min": -0.501, "max": 0.701}, {"min": 0.101}, {"max": -0.101}]
    return sample(values(rng, shape), **bounds[rng.integers(3)])


def an_axis(rng, shape):
    """One axis, counted from either end."""
    return int(rng.integers(-len(shape), len(shape))) if shape else None


def reduction(least=0, **settings):
    """Over all axes, one, or several, of at least `least` values."""

    def make(rng, shape):
        axes = [None, an_axis(rng, shape), tuple(range(len(shape)))[:2], tuple(range(len(shape)))]
        for k in rng.permutation(4):
            reduced = shape if axes[k] is None else [shape[a] for a in np.atleast_1d(axes[k])]
            if math.prod(map(int, reduced)) >= least and axes[k] != ():
                keepdims = bool(rng.integers(2))
                return sample(values(rng, shape), axis=axes[k], keepdims=keepdims, **settings)
        return make(rng, (3, 2))

    return make


def variance(rng, shape):
    return reduction(2, correction=int(rng.integers(2)))(rng, shape)


def reshape(rng, shape):
    targets = [shape[::-1], (1, *shape), (math.prod(shape),), (*shape, -1)]
    targets = targets if math.prod(shape) else targets[:3]
    return sample(values(rng, shape), shape=targets[rng.integers(len(targets))])


def transpose(rng, shape):
    shape = shape or (3,)
    return sample(values(rng, shape), axis0=an_axis(rng, shape), axis1=an_axis(rng, shape))


def permute(rng, shape):
    axes = [int(a) - (len(shape) if rng.integers(2) else 0) for a in rng.permutation(len(shape))]
    return sample(values(rng, shape), axes=tuple(axes))


def squeeze(rng, shape):
    kind = rng.integers(3)
    x = values(rng, (1, *shape, 1))
    return sample(x, axis=[None, 0, (0, -1)][kind])


def unsqueeze(rng, shape):
    return sample(values(rng, shape), axis=int(rng.integers(-len(shape) - 1, len(shape) + 1)))


def broadcast_to(rng, shape):
    smaller = tuple(1 if rng.random() < 0.4 else n for n in shape)
    return sample(values(rng, smaller), shape=(2, *shape))


def concatenate(rng, shape):
    shape = shape or (3,)
    axis = an_axis(rng, shape)
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        sizes = list(shape)
        sizes[axis] = int(rng.integers(0, 4))
        parts.append(values(rng, tuple(sizes)))
    return sample(*parts, axis=axis)


def stack(rng, shape):
    axis = int(rng.integers(-len(shape) - 1, len(shape) + 1))
    return sample(*(values(rng, shape) for _ in range(int(rng.integers(1, 4)))), axis=axis)


def split(rng, shape):
    shape = shape or (4,)
    axis = an_axis(rng, shape)
    first = int(rng.integers(shape[axis] + 1))
    sizes = [first, shape[axis] - first] if rng.integers(2) else int(rng.integers(1, 4))
    return sample(values(rng, shape), sizes=sizes, axis=axis)


def getitem(rng, shape):
    """Basic, integer (with repeats) and boolean indices."""
    if not shape:
        return sample(values(rng, ()), index=())
    n = shape[0]
    kinds = [
        slice(None, None, 2),
        slice(None, None, -1),
        (Ellipsis, None),
        (slice(0, 2), None),
        rng.random(shape) < 0.5,
        rng.random(n) < 0.5,
    ]
    if n:
        kinds += [n - 1, -1, rng.integers(-n, n, 4), [0, 0, n - 1], (..., slice(None, None, -1))]
    return sample(values(rng, shape), index=kinds[rng.integers(len(kinds))])


def where(rng, shape):
    made = binary()(rng, shape)
    return sample(*made.operands, condition=rng.random(shape) < 0.5)


def masked_fill(rng, shape):
    mask = rng.random(partner(rng, shape)) < 0.5
    return sample(values(rng, shape), mask=mask, value=[0.0, -7.5, -math.inf][rng.integers(3)])


def embedding(rng, shape):
    size, width = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    return sample(values(rng, (size, width)), ids=rng.integers(size, size=shape))


def dropout(rng, shape):
    return sample(
        values(rng, shape),
        p=float(rng.choice([0.0, 0.1, 0.5, 0.9])),
        seed=int(rng.integers(2**64, dtype=np.uint64)),
    )


def matmul(rng, shape):
    m, k, n = (int(d) for d in rng.integers(1, 6, 3))
    shapes = [
        ((k,), (k,)),
        ((m, k), (k,)),
        ((k,), (k, n)),
        ((m, k), (k, n)),
        ((k,), (2, k, n)),
        ((2, m, k), (k,)),
        ((3, 1, m, k), (2, k, n)),
        ((2, m, k), (2, k, n)),
        ((0, k), (k, n)),
        ((m, 0), (0, n)),
    ]
    a, b = shapes[rng.integers(len(shapes))]
    return sample(values(rng, a), values(rng, b))


def linear(rng, shape):
    shape = shape or (3,)
    n = int(rng.integers(1, 6))
    bias = values(rng, (n,)) if rng.integers(2) else None
    return sample(values(rng, shape), values(rng, (n, shape[-1])), bias)


def linear_residual(rng, shape):
    shape = shape or (3,)
    n = int(rng.integers(1, 40))  # more than a tile is wide
    bias = values(rng, (n,)) if rng.integers(2) else None
    settings = {} if rng.integers(2) else {"dropout_p": 0.3, "seed": int(rng.integers(1000))}
    residual = values(rng, (*shape[:-1], n))
    return sample(values(rng, shape), values(rng, (n, shape[-1])), bias, residual, **settings)


def feed_forward(rng, shape):
    x, w1, b1 = linear(rng, shape).operands
    residual = linear_residual(rng, (*x.shape[:-1], len(w1)))
    _, w2, b2, r = residual.operands
    approximate = ("none", "tanh")[int(rng.integers(2))]
    return sample(x, w1, b1, w2, b2, r, approximate=approximate, **residual.settings)


def swiglu(rng, shape):
    x, w_gate, b_gate = linear(rng, shape).operands
    w_up, b_up = values(rng, w_gate.shape), None if b_gate is None else values(rng, b_gate.shape)
    rest = linear_residual(rng, (*x.shape[:-1], len(w_gate))).operands[1:]
    return sample(x, w_gate, b_gate, w_up, b_up, *rest)


def softmax(rng, shape):
    shape = shape or (3,)
    return sample(np.asarray(values(rng, shape) * 3), axis=an_axis(rng, shape))


def layer_norm(rng, shape):
    shape = (*shape, int(rng.integers(2, 7)))
    bias = values(rng, shape[-1:]) if rng.integers(2) else None
    return sample(values(rng, shape), values(rng, shape[-1:]), bias, eps=0.1)


def rms_norm(rng, shape):
    shape = (*shape, int(rng.integers(1, 7)))
    return sample(values(rng, shape), values(rng, shape[-1:]), eps=float(rng.choice([1e-6, 0.1])))


def split_heads(rng, shape):
    batch, t, d, keys = (int(n) for n in rng.integers(0, 4, 4))
    heads = [(2, 1, 1), (1, 1, 1), (3,), (2, keys + 1)][int(rng.integers(4))]
    return sample(values(rng, (batch, t, sum(heads) * d)), heads=heads)


def join_heads(rng, shape):
    return sample(values(rng, tuple(int(n) for n in rng.integers(0, 4, 4))))


def attention(rng, shape):
    """Causal, masked and cross attention; grouped keys; dropout; sometimes an empty batch."""
    batch, groups = int(rng.integers(0, 3)), int(rng.integers(1, 3))
    t, d = (int(n) for n in rng.integers(1, 5, 2))
    heads, s = groups * int(rng.integers(1, 3)), t + int(rng.integers(0, 3))
    settings = {}
    if rng.integers(2):
        mask = rng.random((batch, 1, t, s)[int(rng.integers(0, 3)) :]) < 0.6
        mask[..., 0] = True  # every query sees a key: PyTorch gives NaN otherwise
        settings["mask"] = mask
    if rng.integers(2):
        settings["is_causal"] = True
    if rng.integers(4) == 0:
        settings |= {"dropout_p": 0.3, "seed": int(rng.integers(1000))}
    if rng.integers(4) == 0:
        settings["scale"] = 0.7
    return sample(
        values(rng, (batch, heads, t, d)),
        values(rng, (batch, groups, s, d)),
        values(rng, (batch, groups, s, d)),
        **settings,
    )


def rotary(rng, shape):
    shape = (*shape, int(rng.integers(0, 4)), 2 * int(rng.integers(0, 4)))
    angles = rng.random((shape[-2], shape[-1] // 2)) * 7
    return sample(values(rng, shape), cos=np.cos(angles), sin=np.sin(angles))


def cross_entropy(rng, shape):
    size = int(rng.integers(1, 6))
    targets = rng.integers(size, size=shape)
    ignored = np.where(rng.random(shape) < 0.3, -100, targets)
    sums = {"reduction": "sum"} if (ignored == -100).all() or rng.integers(2) else {}
    smooth = {"label_smoothing": float(rng.random())} if rng.integers(2) else {}
    return sample(values(rng, (*shape, size)), targets=np.asarray(ignored), **sums, **smooth)


def linear_cross_entropy(rng, shape):
    (logits,), settings = cross_entropy(rng, shape)
    width = int(rng.integers(1, 5))
    weight = values(rng, (logits.shape[-1], width), 1 / math.sqrt(2))
    return sample(values(rng, (*shape, width)), weight, **settings)


def mse_loss(rng, shape):
    shape = shape if math.prod(shape) else (2, 3)
    return sample(values(rng, shape), values(rng, shape, 1 / math.sqrt(2)))


MAKERS = {
    **dict.fromkeys(("add", "subtract", "multiply", "maximum", "minimum"), binary()),
    **dict.fromkeys(("negative", "exp", "abs", "relu", "sigmoid", "tanh", "silu"), unary()),
    **dict.fromkeys(("log", "sqrt"), unary(positive)),
    **dict.fromkeys(("max", "min", "mean"), reduction(1)),
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    "divide": binary(positive),
    "power": power,
    "clip": clip,
    "sum": reduction(),
    "var": variance,
    "gelu": lambda rng, shape: unary(approximate=str(rng.choice(["none", "tanh"])))(rng, shape),
    "reshape": reshape,
    "transpose": transpose,
    "permute": permute,
    "squeeze": squeeze,
    "unsqueeze": unsqueeze,
    "broadcast_to": broadcast_to,
    "concatenate": concatenate,
    "stack": stack,
    "split": split,
    "getitem": getitem,
    "where": where,
    "masked_fill": masked_fill,
    "embedding": embedding,
    "dropout": dropout,
    "matmul": matmul,
    "linear": linear,
    "feed_forward": feed_forward,
    "linear_residual": linear_residual,
    "swiglu": swiglu,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "scaled_dot_product_attention": attention,
    "split_heads": split_heads,
    "join_heads": join_heads,
    "rotary": rotary,
    "cross_entropy": cross_entropy,
    "linear_cross_entropy": linear_cross_entropy,
    "mse_loss": mse_loss,
}


def samples(name, count=0):
    """A sample of the operation for each of SHAPES, twice, then `count` at random shapes."""
    rng = np.random.default_rng([*name.encode()])
    for shape in SHAPES * 2:
        yield MAKERS[name](rng, shape)
    for _ in range(count):
        shape = rng.choice([0, 1, 1, 2, 3, 4, 5], rng.integers(4))
        yield MAKERS[name](rng, tuple(int(n) for n in shape))

"""What an operation refuses, and what it says: the same for an op and for its compiled twin.

Compiled code has no bounds checks, and NumPy reads -1 as "the last": ids are checked before they
index anything.
"""

import numpy as np


def check_floats(name, x):
    """Raise where an op whose values are fractions is given integers or bools, as PyTorch does."""
    if np.asarray(x).dtype.kind != "f":
        raise TypeError(f"{name} needs floats, got {np.asarray(x).dtype}")


def check_ids(ids, size, what):
    """Raise where an id is no row of a table with `size` rows."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{what}: ids are {ids.dtype}, but integers are needed")
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        wrong = ids[(ids < 0) | (ids >= size)].flat[0]
        raise ValueError(f"{what}: id {wrong} is outside the {size} rows of the table")


def check_choice(what, setting, value, known):
    """Raise where a setting is none of the values that `what` knows."""
    if value not in known:
        raise ValueError(f"{setting}={value!r}; {what} knows {' and '.join(map(repr, known))}")


def check_probability(p):
    """Dropout keeps something, so 0 <= p < 1."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout probability {p} is not in [0, 1)")


def check_seed(seed):
    """A seed has 64 bits."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"dropout seed {seed} is not in [0, 2^64)")


def check_matmul(a, b):
    """Raise where a's columns and b's rows differ in number."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        raise ValueError(f"matmul: shapes {np.shape(a)} and {np.shape(b)}; a single number has no "
                         "rows, use * instead")
    columns, rows = a.shape[-1], b.shape[-2:][0]
    if columns != rows:
        raise ValueError(f"matmul: {a.shape} times {b.shape} does not fit: {columns} is not {rows}")


def check_linear(x, weight, bias):
    """Raise where x's last axis or the bias does not fit the weight."""
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: x of shape {x.shape} does not fit the weight of shape "
                         f"{weight.shape}; x (..., K) needs a weight (N, K)")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: a bias of shape {bias.shape} does not fit the weight of shape "
                         f"{weight.shape}; a weight (N, K) needs a bias (N,)")


def check_residual(x, weight, residual):
    """Raise where the residual has not the shape of x W^T."""
    if x.ndim == 0 or residual.shape != (*x.shape[:-1], *weight.shape[:1]):
        raise ValueError(f"linear_residual: a residual of shape {residual.shape} does not fit x "
                         f"{x.shape} and the weight {weight.shape}; it needs x's leading axes and "
                         "the weight's rows")


def check_gate(w_gate, w_up):
    """Raise where the gate has not the shape of what passes through it."""
    if w_gate.shape != w_up.shape:
        raise ValueError(f"swiglu: a gate of shape {w_gate.shape} does not fit w_up {w_up.shape}; "
                         "both are (F, D)")


def check_norm(name, x, weight, bias):
    """Raise where x's rows and the parameters differ in length, or have none."""
    check_floats(name, x)
    rows = x.shape[-1:]
    if rows in ((), (0,)) or weight.shape != rows or bias is not None and bias.shape != rows:
        parameters = [p.shape for p in (weight, bias) if p is not None]
        raise ValueError(f"{name}: x of shape {x.shape} does not fit parameters of {parameters}; "
                         "x (..., D) needs parameters (D,), D at least 1")


def check_targets(shape, targets, ignore_index, reduction, label_smoothing=0.0):
    """Which rows count, flat; raises where the targets do not fit logits of that shape."""
    if targets.shape != shape[:-1]:
        raise ValueError(f"cross_entropy: targets of shape {targets.shape} do not fit logits of "
                         f"{shape}, which have one more axis, the vocabulary")
    check_choice("cross_entropy", "reduction", reduction, ("mean", "sum"))
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}; it is a "
                         "probability, from 0 to 1")
    counts = targets != ignore_index
    check_ids(targets[counts], shape[-1], "cross_entropy")
    if reduction == "mean" and not counts.any():
        raise ValueError(f"cross_entropy: none of {targets.size} targets counts (ignore_index "
                         f"{ignore_index}), so there is no mean; drop the batch or use 'sum'")
    return counts.reshape(-1)


def check_attention(q, k, v, mask, dropout_p):
    """Raise where shapes do not fit, with the shapes."""
    check_floats("attention", q)
    check_probability(dropout_p)
    if not q.ndim == k.ndim == v.ndim == 4:
        raise ValueError(f"attention takes (B, H, T, D); got q {q.shape}, k {k.shape}, v {v.shape}")
    fits = k.shape[:3] == v.shape[:3] and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
    if not fits or k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(f"attention: q {q.shape}, k {k.shape} and v {v.shape} do not fit; batch "
                         "and width must be equal, the query heads a multiple of the key heads")
    if mask is not None:
        _check_mask(mask, (*q.shape[:3], k.shape[2]))


def check_rotary(x, cos, sin):
    """Raise where x (..., T, D) and the tables (T, D/2) do not fit, or D is odd."""
    check_floats("rotary", x)
    half = (*x.shape[-2:-1], x.shape[-1] // 2) if x.ndim >= 2 else None
    if half is None or x.shape[-1] % 2 or np.shape(cos) != half or np.shape(sin) != half:
        raise ValueError(f"rotary: x of shape {x.shape} does not fit cos {np.shape(cos)} and sin "
                         f"{np.shape(sin)}; x (..., T, D) needs both (T, D/2), D even")


def check_heads(x, heads):
    """Raise where the width of x (B, T, width) cannot be cut into so many heads."""
    if x.ndim != 3 or min(heads) < 1 or x.shape[2] % sum(heads):
        raise ValueError(f"split_heads: x of shape {x.shape} into {tuple(heads)} heads; x (B, T, "
                         f"width) needs a width that {sum(heads)} divides")


def check_joinable(x):
    """Raise where x has not the axes (B, H, T, D)."""
    if x.ndim != 4:
        raise ValueError(f"join_heads takes (B, H, T, D); got {x.shape}")


def _check_mask(mask, shape):
    if mask.dtype != bool:
        raise ValueError(f"attention: the mask is {mask.dtype}; it must be bool, True = may attend")
    fits = mask.ndim <= 4 and all(m in (1, n) for m, n in zip(mask.shape[::-1], shape[::-1]))
    if not fits:
        raise ValueError(f"attention: a mask of shape {mask.shape} does not broadcast to {shape}")

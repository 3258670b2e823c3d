"""What training lowers: one number that says how wrong the outputs are."""

import numpy as np

from tinygrad_llm.checks import check_floats, check_targets
from tinygrad_llm.ops.matmul import linear
from tinygrad_llm.ops.normalize import log_softmax


def cross_entropy(logits, /, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """y = mean over the rows that count of -sum_j q_j log softmax(logits)_j;   with n such rows:

    dlogits = (softmax(logits) - q) dy / n, and 0 in the rows that do not count.
    logits (..., V), targets (...) of ids; rows whose target is `ignore_index` do not count.
    reduction: "mean" or "sum". label_smoothing e: q = (1 - e) onehot(target) + e / V (Szegedy et
    al. 2016, arXiv 1512.00567, section 7); at 0 a row's loss is -log softmax(logits)[target].
    """
    check_floats("cross_entropy", logits)
    counts = check_targets(logits.shape, targets, ignore_index, reduction, label_smoothing)
    rows = logits.reshape(-1, logits.shape[-1])
    index = np.flatnonzero(counts)
    chosen = targets.reshape(-1)[index]
    log_p, _ = log_softmax(rows[index])
    divisor = len(index) if reduction == "mean" else 1
    shape = logits.shape
    on, rest = 1 - label_smoothing, label_smoothing / max(shape[-1], 1)
    y = -np.sum(log_p[np.arange(len(index)), chosen]) * (on / divisor)
    if rest:
        y -= np.sum(log_p) * (rest / divisor)

    def backward(dy):
        gradient = np.exp(log_p) - rest
        gradient[np.arange(len(index)), chosen] -= on
        drows = np.zeros((len(counts), shape[-1]), gradient.dtype)
        drows[index] = gradient * (dy * (1 / divisor))
        return (drows.reshape(shape),)

    return np.asarray(y, logits.dtype), backward


def linear_cross_entropy(
    x, weight, /, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """y = cross_entropy(x W^T, targets);   dlogits as there,  dx = dlogits W,  dW = dlogits^T x.

    A model's last layer and its loss. x (..., D), weight (V, D), targets (...) of ids.
    """
    logits, linear_backward = linear(x, weight, None)
    y, loss_backward = cross_entropy(
        logits,
        targets=targets,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )

    def backward(dy, needs):
        return linear_backward(*loss_backward(dy), [*needs, False])[:2]

    return y, backward


def mse_loss(a, b, /):
    """y = mean (a - b)^2;   da = 2 (a - b) dy / n,  db = -da. Equal shapes."""
    check_floats("mse_loss", a)
    if np.shape(a) != np.shape(b) or np.size(a) == 0:
        raise ValueError(
            f"mse_loss: shapes {np.shape(a)} and {np.shape(b)}; it needs two equal "
            "shapes with at least one value"
        )
    difference = a - b

    def backward(dy):
        da = difference * (dy * (2 / difference.size))
        return da, -da

    return np.mean(difference * difference), backward

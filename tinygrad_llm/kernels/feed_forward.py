"""The compiled twin of ops/feed_forward.py: of the wide layer only what enters GELU is kept."""

from tinygrad_llm.checks import check_choice, check_linear, check_residual
from tinygrad_llm.kernels import epilogues
from tinygrad_llm.kernels.activations import gelu
from tinygrad_llm.kernels.buffers import empty
from tinygrad_llm.kernels.gemm import gemm
from tinygrad_llm.kernels.matmul import linear_backward, linear_forward, product_in, rows_of, sum_in
from tinygrad_llm.kernels.parallel import as_table
from tinygrad_llm.kernels.selection import drop

_NOWHERE = (None,) * 6
# What the two products of the wide layer do to their results, forward and backward.
_KINDS = {
    "none": (epilogues.GELU, epilogues.SLOPE),
    "tanh": (epilogues.GELU_TANH, epilogues.SLOPE_TANH),
}


def feed_forward(x, w1, b1, w2, b2, residual, /, *, approximate="none", dropout_p=0.0, seed=0):
    """y = r + dropout(g W2^T + b2), g = GELU(h), h = x W1^T + b1;   dr = dy, the rest step by step.

    g is made from h again in backward: memory that is at hand is faster than memory that is far.
    """
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    check_linear(x, w1, b1)
    shape = *x.shape[:-1], len(w1)
    kind, slope = _KINDS[approximate]
    g = empty(shape)
    check_linear(g, w2, b2)
    check_residual(g, w2, residual)
    h = linear_forward(x, w1, b1, kind, beside=as_table(g))
    last = {"other": as_table(residual), "dropout_p": dropout_p, "seed": seed}
    y = linear_forward(g, w2, b2, epilogues.RESIDUAL, **last)
    del g, last

    def backward(dy, needs, rooms=_NOWHERE):
        rows = rows_of(drop(dy, dropout_p, seed) if dropout_p else dy)
        g, first = None, (None, None, None)
        if any(needs[:3]):
            g = empty(shape)
            tables = {"other": as_table(h), "beside": as_table(g)}
            dh = gemm(rows, w2, epilogue=epilogues.arguments(slope, **tables)).reshape(shape)
            first = linear_backward(x, w1, dh, needs[:3], rooms[:3])
        elif needs[3]:
            g, _ = gelu(h, approximate=approximate)
        dw2 = product_in(rooms[3], rows.T, rows_of(g)) if needs[3] else None
        db2 = sum_in(rooms[4], rows) if needs[4] else None
        return *first, dw2, db2, dy if needs[5] else None

    return y, backward

"""The compiled twin of ops/feed_forward.py: of the wide layer only what enters GELU is kept.

It goes through long inputs in blocks of rows, so that nothing else as wide is ever whole.
"""

import numpy as np

from tinygrad_llm.checks import check_choice, check_linear, check_residual
from tinygrad_llm.kernels import again, epilogues
from tinygrad_llm.kernels.activations import gelu, gelu_again
from tinygrad_llm.kernels.buffers import WIDE_ROWS, Room, empty
from tinygrad_llm.kernels.matmul import product_in, rows_of, sum_in
from tinygrad_llm.kernels.selection import drop
from tinygrad_llm.kernels.weights import by_weight, by_weight_rows

_NOWHERE = (None,) * 6
_KINDS = {"none": epilogues.GELU, "tanh": epilogues.GELU_TANH}


def feed_forward(x, w1, b1, w2, b2, residual, /, *, approximate="none", dropout_p=0.0, seed=0):
    """y = r + dropout(g W2^T + b2), g = GELU(h), h = x W1^T + b1;   dr = dy, the rest step by step.

    g is made from h again in backward: memory that is at hand is faster than memory that is far.
    """
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    check_linear(x, w1, b1)
    h, y = empty((*x.shape[:-1], len(w1))), empty(residual.shape)
    check_linear(h, w2, b2)
    check_residual(h, w2, residual)
    shape, kind = x.shape, _KINDS[approximate]
    saved_x, r = again.saved(x), np.ascontiguousarray(residual, np.float32)
    x, r, h, y_rows = map(rows_of, (x, r, h, y))
    for rows in row_blocks(len(x)):
        g = empty(h[rows].shape)
        by_weight_rows(x[rows], w1, h[rows], epilogues.arguments(kind, b1, g))
        dropping = {"dropout_p": dropout_p, "seed": seed, "start": y_rows[: rows.start].size}
        onto = epilogues.arguments(epilogues.RESIDUAL, b2, r[rows], **dropping)
        by_weight_rows(g, w2, y_rows[rows], onto)
    del x, g, r, onto, y_rows

    def backward(dy, needs, rooms=_NOWHERE):
        into_dropout = rows_of(drop(dy, dropout_p, seed) if dropout_p else dy)
        x = rows_of(saved_x()) if needs[1] else None
        dx, gradients = empty(shape) if needs[0] else None, [None] * 4
        for rows in row_blocks(len(h)):
            there = [more_into(*pair) for pair in zip(rooms[1:5], gradients)]
            out = into_dropout[rows]
            g, dh = _wide_gradient(h[rows], out, w2, approximate, needs)
            if needs[0]:
                by_weight(dh, w1, rows_of(dx)[rows])
            gradients = [
                product_in(there[0], dh.T, x[rows]) if needs[1] else None,
                sum_in(there[1], dh) if needs[2] else None,
                product_in(there[2], out.T, g) if needs[3] else None,
                sum_in(there[3], out) if needs[4] else None,
            ]
        return dx, *gradients, dy if needs[5] else None

    return y, backward


def _wide_gradient(h, dy, w2, approximate, needs):
    """Of a block of rows g and dh = dy W2 GELU'(h), or None for what nobody needs."""
    if any(needs[:3]):
        return gelu_again(h, by_weight(dy, w2), approximate)
    return gelu(h, approximate=approximate)[0] if needs[3] else None, None


def row_blocks(count):
    """Blocks of `count` rows, at least one, as equal as can be."""
    parts = max(-(-count // WIDE_ROWS), 1)
    return [slice(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


def more_into(room, so_far):
    """Where the next block's part of a gradient goes: into the room, then onto the part so far."""
    return room if so_far is None else Room(so_far, True)

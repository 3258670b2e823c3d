"""The feed-forward network of a transformer's block: each position alone, wider and back.

Vaswani et al. 2017, section 3.3, with GELU in place of ReLU as in GPT and BERT.
"""

from tinygrad_llm.ops.activations import gelu
from tinygrad_llm.ops.matmul import linear, linear_residual


def feed_forward(x, w1, b1, w2, b2, residual, /, *, approximate="none", dropout_p=0.0, seed=0):
    """y = r + dropout(g W2^T + b2), g = GELU(h), h = x W1^T + b1;   dr = dy, the rest step by step.

    x (..., D), w1 (F, D), b1 (F,) or None, w2 (N, F), b2 (N,) or None, residual r and y (..., N).
    """
    h, first_backward = linear(x, w1, b1)
    g, gelu_backward = gelu(h, approximate=approximate)
    y, second_backward = linear_residual(g, w2, b2, residual, dropout_p=dropout_p, seed=seed)

    def backward(dy, needs):
        above = any(needs[:3])
        dg, dw2, db2, dr = second_backward(dy, [above, *needs[3:]])
        first = first_backward(*gelu_backward(dg), needs[:3]) if above else (None, None, None)
        return *first, dw2, db2, dr

    return y, backward

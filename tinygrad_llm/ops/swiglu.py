"""Llama's feed-forward network: one product decides how much of another passes.

Shazeer 2020, arXiv 2002.05202, section 2: Swish, which is SiLU, as the gate.
"""

from tinygrad_llm.checks import check_gate
from tinygrad_llm.ops.activations import silu
from tinygrad_llm.ops.elementwise import multiply
from tinygrad_llm.ops.matmul import linear, linear_residual


def swiglu(x, w_gate, b_gate, w_up, b_up, w_down, b_down, residual, /):
    """y = r + m W_down^T + b_down, m = silu(g) u, g = x W_gate^T + b_gate, u = x W_up^T + b_up;

    dr = dy, the rest step by step. x (..., D), w_gate and w_up (F, D), w_down (N, F), residual r
    and y (..., N); biases or None.
    """
    check_gate(w_gate, w_up)
    g, gate_backward = linear(x, w_gate, b_gate)
    u, up_backward = linear(x, w_up, b_up)
    s, silu_backward = silu(g)
    m, multiply_backward = multiply(s, u)
    y, down_backward = linear_residual(m, w_down, b_down, residual)

    def backward(dy, needs):
        gate = up = (None, None, None)
        first = any(needs[:5])
        dm, *down, dr = down_backward(dy, [first, *needs[5:]])
        if first:
            ds, du = multiply_backward(dm, (True, True))
            gate = gate_backward(*silu_backward(ds), [needs[0], *needs[1:3]])
            up = up_backward(du, [needs[0], *needs[3:5]])
        dx = gate[0] + up[0] if needs[0] else None
        return dx, *gate[1:], *up[1:], *down, dr

    return y, backward

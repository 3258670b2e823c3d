"""PyTorch's version of each operation, forward and backward, as its users write it."""

import torch
from torch.nn import functional as F

from tests.torch_ops import TORCH


def attention(q, k, v, is_causal):
    return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)


def rotary(x, cos, sin):
    a, b = x.chunk(2, -1)
    cos, sin = torch.as_tensor(cos), torch.as_tensor(sin)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


# What the tests compare with is written for any setting; these two are as fast as PyTorch has them.
# Dropout is left out, for its random numbers are PyTorch's own, and nothing can be found equal; and
# broadcast_to, whose gradient our tape sums.
FUNCTIONS = TORCH | {"scaled_dot_product_attention": attention, "rotary": rotary}
OPS = (FUNCTIONS.keys() | {"adamw", "gradient_norm"}) - {"dropout", "broadcast_to"}


def forward_and_backward(name, operands, settings):
    """A function that returns [values and gradients]: dy is like y; what is no array has None."""
    inputs = [
        torch.from_numpy(x).requires_grad_() if hasattr(x, "dtype") else x for x in operands
    ]
    arrays = [x for x in inputs if torch.is_tensor(x)]

    def run():
        y = FUNCTIONS[name](*inputs, **settings)
        values = y if isinstance(y, tuple) else (y,)
        dy = [value.detach() for value in values]
        gradients = iter(torch.autograd.grad(values, arrays, dy))
        return [*dy, *(next(gradients) if torch.is_tensor(x) else None for x in inputs)]

    return run


def adamw(weights, gradients, *, lr, beta1, beta2, eps, weight_decay):
    """A function that makes one update with PyTorch's fused kernel: [weights and moments]."""
    parameter = torch.nn.Parameter(torch.from_numpy(weights))
    parameter.grad = torch.from_numpy(gradients)
    optimizer = torch.optim.AdamW(
        [parameter], lr, (beta1, beta2), eps, weight_decay=weight_decay, fused=True
    )

    def run():
        optimizer.step()
        state = optimizer.state[parameter]
        return [parameter.detach(), state["exp_avg"], state["exp_avg_sq"]]

    return run


def gradient_norm(gradients):
    """A function that returns the norm as clip_grad_norm_ takes it."""
    gradients = torch.from_numpy(gradients)
    return lambda: [torch.linalg.vector_norm(gradients).item()]

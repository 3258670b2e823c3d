"""Causal attention alone, forward and backward, (B, H, T, D): ours and PyTorch's."""

import time

import numpy as np

from benchmarks import machine

SAMPLED = 64  # numbers of each result that are compared


class Attention:
    """Inputs that every library gets, and what is asked of it; a subclass computes."""

    def __init__(self, shape):
        self.shape = tuple(shape)

    def load(self, q, k, v, dy):
        """Keep the inputs in the library's own arrays."""
        raise NotImplementedError

    def compute(self):
        """(y, dq, dk, dv) as NumPy arrays."""
        raise NotImplementedError

    def passes(self, count):
        """Seconds of `count` passes, and numbers taken from the results."""
        if not hasattr(self, "loaded"):
            rng = np.random.default_rng(0)
            self.load(*(rng.standard_normal(self.shape, dtype=np.float32) for _ in range(4)))
            self.loaded = True
        start = time.perf_counter()
        for _ in range(count):
            results = self.compute()
        seconds = time.perf_counter() - start
        places = np.linspace(0, np.prod(self.shape) - 1, SAMPLED).astype(int)
        return {"seconds": seconds, "samples": [x.flat[places].tolist() for x in results]}

    def growth(self, length):
        """Megabytes that a pass over T = length takes at its peak, beyond what was held before."""
        b, h, _, d = self.shape
        self.shape = (b, h, 64, d)
        self.passes(1)  # compiles: that memory is not the pass's
        del self.loaded
        before, self.shape = machine.memory(), (b, h, length, d)
        machine.forget_peak()
        self.passes(1)
        return machine.peak_memory() - before


class Ours(Attention):
    def load(self, q, k, v, dy):
        from tinygrad_llm.kernels.attention import scaled_dot_product_attention

        self.attend, self.inputs, self.dy = scaled_dot_product_attention, (q, k, v), dy

    def compute(self):
        y, backward = self.attend(*self.inputs, is_causal=True)
        if backward.__code__.co_argcount == 1:
            return y, *backward(self.dy)
        return y, *backward(self.dy, [True] * 3)


class PyTorch(Attention):
    def load(self, q, k, v, dy):
        import torch

        self.inputs = [torch.from_numpy(x).requires_grad_() for x in (q, k, v)]
        self.dy = torch.from_numpy(dy)

    def compute(self):
        from torch.nn.functional import scaled_dot_product_attention

        for x in self.inputs:
            x.grad = None
        y = scaled_dot_product_attention(*self.inputs, is_causal=True)
        y.backward(self.dy)
        return [y.detach().numpy(), *(x.grad.numpy() for x in self.inputs)]

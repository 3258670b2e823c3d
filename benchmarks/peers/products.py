"""The three matrix products of a linear layer, by each library in a process of its own."""

import numpy as np

from benchmarks.turns import phase

FORMS = ("y = x W^T", "dx = dy W", "dW = dy^T x")
TOLERANCE = 1e-5  # of the largest number


class Products:
    """Operands that every library gets, and what is asked of it; a subclass computes."""

    def build(self, x, weight, dy):
        """A function for each of FORMS, of arrays as the library keeps them."""
        raise NotImplementedError

    def take(self, shape):
        """Go over to x (M, K) and W (N, K), and raise ArithmeticError for a wrong product."""
        m, k, n = shape
        rng = np.random.default_rng(0)
        shapes = [(m, k), (n, k), (m, n)]
        x, weight, dy = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
        self.forms = self.build(x, weight, dy)
        for form, product, truth in zip(
            FORMS, self.forms, (x @ weight.T, dy @ weight, dy.T @ x), strict=True
        ):
            check(np.asarray(product()), truth, f"{form} at {shape}")

    def phase(self, form, seconds):
        """Seconds of one product of that number in FORMS, repeated for about so many seconds."""
        return phase(self.forms[form], seconds)


def check(y, truth, what):
    """Raise unless two results are equal to float32's precision: a wrong product has no speed."""
    error = float(np.abs(y - truth).max() / np.abs(truth).max())
    if not error <= TOLERANCE:
        raise ArithmeticError(f"{what}: the results differ by {error:.1e} of the largest number")


# All but JAX, whose arrays cannot be written, write where they wrote before: no page is new.


class Ours(Products):
    def build(self, x, weight, dy):
        from tinygrad_llm.kernels.matmul import linear

        backward = linear(x, weight, None)[1]
        return [
            lambda: linear(x, weight, None)[0],
            lambda: backward(dy, [True, False, False])[0],
            lambda: backward(dy, [False, True, False])[1],
        ]


class NumPy(Products):
    def build(self, x, weight, dy):
        y, dx, dweight = (np.empty_like(a) for a in (dy, x, weight))
        return [
            lambda: np.matmul(x, weight.T, out=y),
            lambda: np.matmul(dy, weight, out=dx),
            lambda: np.matmul(dy.T, x, out=dweight),
        ]


class PyTorch(Products):
    def build(self, x, weight, dy):
        import torch

        x, weight, dy = (torch.from_numpy(a) for a in (x, weight, dy))
        y, dx, dweight = (torch.empty_like(a) for a in (dy, x, weight))
        return [
            lambda: torch.matmul(x, weight.T, out=y),
            lambda: torch.matmul(dy, weight, out=dx),
            lambda: torch.matmul(dy.T, x, out=dweight),
        ]


class JAX(Products):
    def build(self, x, weight, dy):
        import jax

        x, weight, dy = (jax.numpy.asarray(a) for a in (x, weight, dy))
        forward, dx, dweight = map(
            jax.jit, (lambda x, w: x @ w.T, lambda dy, w: dy @ w, lambda dy, x: dy.T @ x)
        )
        return [
            lambda: forward(x, weight).block_until_ready(),
            lambda: dx(dy, weight).block_until_ready(),
            lambda: dweight(dy, x).block_until_ready(),
        ]

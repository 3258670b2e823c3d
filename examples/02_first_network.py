"""A first network: two moons that no straight line divides, learned by two layers and plain
gradient descent.

Run: python examples/02_first_network.py
"""

import numpy as np

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm import functional as F
from tinygrad_llm.nn import Linear, Module


class Network(Module):
    """2 numbers -> hidden -> 2 scores; without hidden units it is logistic regression."""

    def __init__(self, hidden, rng):
        self.first = Linear(2, hidden, rng=rng) if hidden else None
        self.last = Linear(hidden or 2, 2, rng=rng)

    def forward(self, x):
        return self.last(self.first(x).tanh() if self.first else x)


def two_moons(n, rng):
    """n points on two interleaved half circles, with noise: (n, 2) float32, and their class
    (n,).
    """
    angle, side = rng.random(n) * np.pi, rng.integers(2, size=n)
    x = np.stack([np.cos(angle), np.sin(angle)], 1) * np.where(side, -1, 1)[:, None]
    x += np.where(side[:, None], [1.0, 0.5], [0.0, 0.0]) + rng.normal(0, 0.1, (n, 2))
    return x.astype(np.float32), side


def accuracy(network, x, labels):
    with no_grad():
        return float(np.mean(network(Tensor(x)).argmax(-1) == labels))


def train(network, x, labels, steps, lr=0.5):
    for _ in range(steps):
        loss = F.cross_entropy(network(Tensor(x)), labels)
        network.zero_grad()
        loss.backward()
        for parameter in network.parameters():
            parameter.copy_(parameter.data - lr * parameter.grad)
    return loss.item()


def main(steps=1000):
    rng = np.random.default_rng(1)
    x, labels = two_moons(500, rng)
    test_x, test_labels = two_moons(500, rng)
    results = {}
    for name, hidden in (("a straight line", 0), ("16 hidden units", 16)):
        network = Network(hidden, rng)
        loss = train(network, x, labels, steps)
        results[name] = accuracy(network, test_x, test_labels)
        print(f"{name}: training loss {loss:.3f}, accuracy on new points {results[name]:.1%}")
    return results["16 hidden units"] > max(0.95, results["a straight line"])


if __name__ == "__main__":
    raise SystemExit(not main())

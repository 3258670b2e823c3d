"""Backpropagation on five numbers, by hand and by the tape; and why the tape needs a topological
sort.

Run: python examples/01_backprop_by_hand.py
"""

from tinygrad_llm import Tensor


def by_hand(x, w, b, target):
    """loss = (w x + b - target)^2, and the chain rule from the last line to the first."""
    y = w * x + b
    error = y - target
    loss = error * error
    d_error = 2 * error  # d loss / d error
    d_y = d_error  # error = y - target
    return loss, {"x": d_y * w, "w": d_y * x, "b": d_y, "target": -d_error}


def by_tape(**numbers):
    """The same loss from Tensors: each operation records how to go back, `backward` follows
    them.
    """
    t = {name: Tensor(value, requires_grad=True) for name, value in numbers.items()}
    error = t["w"] * t["x"] + t["b"] - t["target"]
    loss = error * error
    loss.backward()
    return loss.item(), {name: tensor.grad.item() for name, tensor in t.items()}


def without_order(a):
    """b = a + a; c = b + b, walked from c by visiting each parent at once: b passes on too
    early.
    """
    gradients = {"c": 1.0, "b": 0.0, "a": 0.0}
    parents = {"c": ["b", "b"], "b": ["a", "a"], "a": []}
    waiting = ["c"]
    while waiting:
        node = waiting.pop(0)
        for parent in parents[node]:
            gradients[parent] += gradients[node]
            waiting.append(parent)  # b is visited twice, and gives all it has both times
    return gradients["a"]


def main():
    numbers = {"x": 3.0, "w": 2.0, "b": 1.0, "target": 5.0}
    loss, expected = by_hand(**numbers)
    tape_loss, gradients = by_tape(**numbers)
    print(f"loss by hand {loss}, by the tape {tape_loss}")
    for name, gradient in gradients.items():
        print(f"  d loss / d {name:<6} by hand {expected[name]:5.1f}, by the tape {gradient:5.1f}")
    a = Tensor(1.0, requires_grad=True)
    b = a + a
    c = b + b
    c.backward()
    wrong = without_order(1.0)
    print(f"c = 4 a: the tape says d c / d a = {a.grad.item()}, a walk without order says {wrong}")
    return gradients == expected and loss == tape_loss and a.grad.item() == 4.0


if __name__ == "__main__":
    raise SystemExit(not main())

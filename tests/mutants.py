"""Wrong gradients, planted one at a time into right operations: mistakes that people make."""

import numpy as np

from tinygrad_llm import ops

RNG = np.random.default_rng(0)
X, Y, ROW, SQUARE = (RNG.standard_normal(shape) + 0.1 for shape in ((3, 4), (3, 4), (4,), (4, 4)))
POSITIVE = np.abs(X) + 0.5
SEVENTH = np.arange(12).reshape(3, 4) == 7
HEADS = RNG.standard_normal((1, 2, 3, 4))
TURNS = np.cos(X[:, :2]), np.sin(X[:, :2])
IDS, REPEATED = np.array([0, 2, 0]), np.array([1, 1, 2])


def spoil(name, k, change, *operands, **settings):
    """(the op of operand k alone with the gradient change(right one, operands, dy), operand k)."""
    op = ops.TABLE[name]

    def spoiled(x, /):
        given = (*operands[:k], x, *operands[k + 1 :])
        y, right = op(*given, **settings)

        def backward(dy):
            needs = [True] * len(given)
            gradients = right(dy) if right.__code__.co_argcount == 1 else right(dy, needs)
            return (change(gradients[k], given, dy),)

        return y, backward

    return spoiled, operands[k]


def value(name, x):
    return ops.TABLE[name](x)[0]


def mean(x):
    return x.mean(-1, keepdims=True)


def once(dy, ids, size):
    """A scatter that forgets that an id may come twice."""
    dx = np.zeros((size, dy.shape[1]))
    dx[ids] = dy
    return dx


MUTANTS = {
    "add: sign of db": spoil("add", 1, lambda g, x, dy: -g, X, Y),
    "subtract: sign of db lost": spoil("subtract", 1, lambda g, x, dy: dy, X, Y),
    "multiply: its own factor": spoil("multiply", 0, lambda g, x, dy: dy * x[0], X, Y),
    "multiply: sum over the broadcast axis missing": spoil(
        "multiply", 1, lambda g, x, dy: g[0], X, ROW
    ),
    "divide: db without the second 1/b": spoil("divide", 1, lambda g, x, dy: g * x[1], X, POSITIVE),
    "power: exponent not lowered": spoil("power", 0, lambda g, x, dy: g * x[0], POSITIVE, 3.0),
    "power: log of the base missing": spoil("power", 1, lambda g, x, dy: g / np.log(2.5), 2.5, X),
    "exp: x for y": spoil("exp", 0, lambda g, x, dy: dy * x[0], X),
    "log: sign": spoil("log", 0, lambda g, x, dy: -g, POSITIVE),
    "sqrt: factor 2": spoil("sqrt", 0, lambda g, x, dy: 2 * g, POSITIVE),
    "abs: no sign": spoil("abs", 0, lambda g, x, dy: dy, X),
    "clip: the outside too": spoil("clip", 0, lambda g, x, dy: dy, X, min=-0.5, max=0.5),
    "maximum: to both": spoil("maximum", 1, lambda g, x, dy: dy, X, Y),
    "relu: the negative side too": spoil("relu", 0, lambda g, x, dy: dy, X),
    "sigmoid: 1 + y": spoil("sigmoid", 0, lambda g, x, dy: dy * (1 - 1 / (1 + np.exp(x[0]))), X),
    "tanh: y not squared": spoil("tanh", 0, lambda g, x, dy: dy * (1 - np.tanh(x[0])), X),
    "gelu: density term missing": spoil(
        "gelu", 0, lambda g, x, dy: dy * value("gelu", x[0]) / x[0], X
    ),
    "silu: as sigmoid": spoil("silu", 0, lambda g, x, dy: dy / (1 + np.exp(-x[0])), X),
    "softmax: row sum missing": spoil(
        "softmax", 0, lambda g, x, dy: dy * value("softmax", x[0]), X
    ),
    "log_softmax: exp missing": spoil(
        "log_softmax",
        0,
        lambda g, x, dy: dy - value("log_softmax", x[0]) * dy.sum(-1, keepdims=True),
        X,
    ),
    "layer_norm: third term missing": spoil(
        "layer_norm",
        0,
        lambda g, x, dy: (dy * ROW - mean(dy * ROW)) / x[0].std(-1, keepdims=True),
        X,
        ROW,
        ROW,
    ),
    "layer_norm: bias by mean": spoil("layer_norm", 2, lambda g, x, dy: dy.mean(0), X, ROW, ROW),
    "rms_norm: not divided": spoil(
        "rms_norm", 0, lambda g, x, dy: g * np.sqrt(mean(x[0] ** 2)), X, ROW
    ),
    "matmul: b not transposed": spoil("matmul", 0, lambda g, x, dy: dy @ x[1], X, SQUARE),
    "matmul: result transposed": spoil("matmul", 1, lambda g, x, dy: g.T, SQUARE, SQUARE.T * 2),
    "linear: dW transposed, another shape": spoil("linear", 1, lambda g, x, dy: g.T, X, X, None),
    "linear: bias from one row": spoil("linear", 2, lambda g, x, dy: dy[0], X, SQUARE, ROW),
    "swiglu: gate and value exchanged": spoil(
        "swiglu",
        1,
        lambda g, x, dy: x[3] * g / x[1],
        *(X, SQUARE, None, SQUARE.T + 1, None, SQUARE, None, X),
    ),
    "sum: an axis short": spoil("sum", 0, lambda g, x, dy: g[0], X),
    "mean: 1/n missing": spoil("mean", 0, lambda g, x, dy: g * x[0].size, X),
    "var: n for n - 1": spoil("var", 0, lambda g, x, dy: g * 11 / 12, X),
    "max: to all": spoil("max", 0, lambda g, x, dy: np.broadcast_to(dy, x[0].shape), X),
    "transpose: left as it is": spoil(
        "transpose", 0, lambda g, x, dy: dy, SQUARE, axis0=0, axis1=1
    ),
    "embedding: an id that came twice": spoil(
        "embedding", 0, lambda g, x, dy: once(dy, IDS, 3), X, ids=IDS
    ),
    "getitem: an index that came twice": spoil(
        "getitem", 0, lambda g, x, dy: once(dy, REPEATED, 3), X, index=REPEATED
    ),
    "where: to both": spoil("where", 0, lambda g, x, dy: dy, X, Y, condition=X > 0),
    "dropout: not scaled up": spoil("dropout", 0, lambda g, x, dy: g * 0.6, X, p=0.4, seed=1),
    "cross_entropy: one-hot missing": spoil(
        "cross_entropy", 0, lambda g, x, dy: value("softmax", x[0]) * dy / 3, X, targets=IDS
    ),
    "cross_entropy: not divided by n": spoil(
        "cross_entropy", 0, lambda g, x, dy: 3 * g, X, targets=IDS
    ),
    "cross_entropy: labels not smoothed": spoil(
        "cross_entropy",
        0,
        lambda g, x, dy: ops.TABLE["cross_entropy"](x[0], targets=IDS)[1](dy)[0],
        X,
        targets=IDS,
        label_smoothing=0.2,
    ),
    "mse_loss: factor 2 missing": spoil("mse_loss", 0, lambda g, x, dy: g / 2, X, Y),
    "attention: dk not scaled": spoil(
        "scaled_dot_product_attention", 1, lambda g, x, dy: 2 * g, HEADS, HEADS * 2, HEADS
    ),
    "attention: heads exchanged": spoil(
        "scaled_dot_product_attention", 2, lambda g, x, dy: g[:, ::-1], HEADS, HEADS * 2, HEADS
    ),
    "rotary: not turned back": spoil(
        "rotary", 0, lambda g, x, dy: dy, X, cos=TURNS[0], sin=TURNS[1]
    ),
    "exp: off by a hundred-thousandth": spoil("exp", 0, lambda g, x, dy: g * 1.00001, X),
    "exp: one entry": spoil("exp", 0, lambda g, x, dy: g + 1e-4 * SEVENTH, X),
    "exp: none at all": spoil("exp", 0, lambda g, x, dy: None, X),
    "exp: NaN": spoil("exp", 0, lambda g, x, dy: g * np.where(x[0] > 1, np.nan, 1), X),
}

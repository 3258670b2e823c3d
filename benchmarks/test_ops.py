"""Every operation, and the optimizer's two: in NumPy, compiled and by PyTorch, forward and
backward, each found equal to NumPy's in float64 and then timed.

Run: pytest benchmarks [-k gelu]; the versions of an operation stand in one group of the table.
"""

import functools
import importlib.util
import math
import time

import numpy as np
import pytest

from benchmarks.turns import PAUSE
from tests.samples import MAKERS
from tinygrad_llm.ops import TABLE, optimizer
from tinygrad_llm.twins import kernel_of

# PyTorch before the kernels: those change how long idle OpenMP threads spin in what loads later.
HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    from benchmarks import torch_passes

pytest.importorskip("pytest_benchmark", reason="pip install pytest-benchmark: it does the timing")

SHAPE = B, T, D = 4, 128, 256
WEIGHTS = 2**20  # that the optimizer moves
SECONDS = 0.2  # at most, about, for each version
TOLERANCE = 2e-5  # of the largest number
OPS = TABLE | {"adamw": optimizer.adamw, "gradient_norm": optimizer.square_norm}
VERSIONS = [
    pytest.param(name, label, id=f"{name}-{label}")
    for name, op in OPS.items()
    for label, there in (
        ("numpy", True),
        ("kernel", kernel_of(op)),
        ("pytorch", HAS_TORCH and name in torch_passes.OPS),
    )
    if there
]


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)


def ids(size, *shape):
    return np.random.default_rng(0).integers(size, size=shape)


ROWS, VECTOR = normal(B, T, D), normal(D)
HEADS = normal(B, 4, T, D // 4)
# Operands and settings as a small GPT has them; any other operation takes a sample of the laws.
CASES = {
    **{name: ((ROWS, ROWS + 1), {}) for name in ("add", "subtract", "multiply", "divide")},
    **{name: ((ROWS, ROWS[::-1]), {}) for name in ("maximum", "minimum")},
    "power": ((np.abs(ROWS) + 1, ROWS), {}),
    "where": ((ROWS, ROWS + 1), {"condition": ROWS > 0}),
    **{name: ((ROWS,), {}) for name in ("exp", "relu", "sigmoid", "tanh", "silu")},
    **{name: ((ROWS,), {"axis": -1}) for name in ("softmax", "log_softmax")},
    **{name: ((ROWS,), {"axis": -1, "keepdims": False}) for name in ("sum", "mean")},
    "gelu": ((ROWS,), {"approximate": "tanh"}),
    "matmul": ((ROWS.reshape(B * T, D), normal(D, D)), {}),
    "linear": ((ROWS, normal(4 * D, D), normal(4 * D)), {}),
    "feed_forward": (
        (ROWS, normal(4 * D, D), normal(4 * D), normal(D, 4 * D), normal(D), ROWS),
        {"approximate": "tanh"},
    ),
    "swiglu": (
        (ROWS, normal(4 * D, D), None, normal(4 * D, D) + 1, None, normal(D, 4 * D), None, ROWS),
        {},
    ),
    "rotary": ((HEADS,), {"cos": normal(T, D // 8), "sin": normal(T, D // 8)}),
    "linear_residual": ((ROWS, normal(D, D), normal(D), ROWS), {}),
    "split_heads": ((normal(B, T, 3 * D),), {"heads": (4, 4, 4)}),
    "join_heads": ((HEADS,), {}),
    "layer_norm": ((ROWS, VECTOR, VECTOR), {"eps": 1e-5}),
    "rms_norm": ((ROWS, VECTOR), {"eps": 1e-5}),
    "embedding": ((normal(1000, D),), {"ids": ids(1000, B, T)}),
    "dropout": ((ROWS,), {"p": 0.1, "seed": 1}),
    "split": ((normal(B, T, 3 * D),), {"sizes": D, "axis": -1}),
    "scaled_dot_product_attention": ((HEADS, HEADS, HEADS), {"is_causal": True}),
    "cross_entropy": ((normal(B, T, 1000),), {"targets": ids(1000, B, T)}),
    "linear_cross_entropy": ((ROWS, normal(1000, D)), {"targets": ids(1000, B, T)}),
}


def case(name):
    """float32 operands, and settings."""
    if name in CASES:
        return CASES[name]
    operands, settings = MAKERS[name](np.random.default_rng(0), SHAPE)
    return as_floats(operands, np.float32), settings


def as_floats(operands, dtype):
    return tuple(x.astype(dtype) if isinstance(x, np.ndarray) else x for x in operands)


def passes(function, operands, settings):
    """[values and gradients] of forward and backward, dy being like y."""
    y, backward = function(*operands, **settings)
    needs = [isinstance(x, np.ndarray) for x in operands]
    gradients = backward(y) if backward.__code__.co_argcount == 1 else backward(y, needs)
    return [*(y if isinstance(y, tuple) else (y,)), *gradients]


ADAMW = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}


def updates(function, state):
    """[weights and moments] after one update of them in place."""
    function(*state, step=1, **ADAMW)
    return [state[0], *state[2:]]


def first_state(dtype):
    """Weights, their gradients, and moments of 0."""
    state = normal(WEIGHTS), normal(1, WEIGHTS)[0], *np.zeros((2, WEIGHTS), np.float32)
    return [x.astype(dtype) for x in state]


def work(name, label, dtype=np.float32):
    """The work of one version, as a function that returns its results."""
    room = {"numpy": OPS.get, "kernel": lambda name: kernel_of(OPS[name])}
    if name == "adamw":
        state = first_state(dtype)
        if label == "pytorch":
            return torch_passes.adamw(*state[:2], **ADAMW)
        return lambda: updates(room[label](name), state)
    if name == "gradient_norm":
        x = normal(WEIGHTS).astype(dtype)
        if label == "pytorch":
            return torch_passes.gradient_norm(x)
        return lambda: [math.sqrt(room[label](name)(x))]
    operands, settings = case(name)
    operands = as_floats(operands, dtype)
    if label == "pytorch":
        return torch_passes.forward_and_backward(name, operands, settings)
    return lambda: passes(room[label](name), operands, settings)


@functools.cache
def truth(name):
    return work(name, "numpy", np.float64)()


def check(results, name):
    """Raise unless a version's results are NumPy's in float64."""
    for a, b in zip(results, truth(name), strict=True):
        if b is not None:
            b = np.asarray(b)
            largest = np.abs(b[np.isfinite(b)]).max(initial=1e-3)
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * largest)


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@pytest.mark.parametrize("name, label", VERSIONS)
def test_op(benchmark, name, label):
    run = work(name, label)
    check(run(), name)
    time.sleep(PAUSE)  # NumPy's threads spin after the check, and would take the cores
    once = min(seconds(run) for _ in range(2))
    calls = max(1, int(1e-3 / once))  # in a round, so that it lasts a millisecond
    rounds = min(max(int(SECONDS / (calls * once)), 3), 200)
    benchmark.group = name
    benchmark.pedantic(run, rounds=rounds, iterations=calls)

"""Every operation, in NumPy and compiled, forward and backward: found equal, then timed.

Run: pytest benchmarks [-k gelu]; the two versions of an operation stand in one group of the table.
"""

import time

import numpy as np
import pytest

from benchmarks.turns import PAUSE
from tests.samples import MAKERS
from tinygrad_llm.ops import TABLE
from tinygrad_llm.twins import kernel_of

pytest.importorskip("pytest_benchmark", reason="pip install pytest-benchmark: it does the timing")

SHAPE = B, T, D = 4, 128, 256
TOLERANCE = 2e-5  # of the largest number
VERSIONS = [
    pytest.param(name, version, id=f"{name}-{label}")
    for name, op in TABLE.items()
    for label, version in (("numpy", op), ("kernel", kernel_of(op)))
    if version
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
    **{name: ((ROWS,), {}) for name in ("exp", "relu", "sigmoid", "tanh", "silu")},
    **{name: ((ROWS,), {"axis": -1}) for name in ("sum", "mean", "softmax", "log_softmax")},
    "gelu": ((ROWS,), {"approximate": "tanh"}),
    "matmul": ((ROWS, normal(D, D)), {}),
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
    "layer_norm": ((ROWS, VECTOR, VECTOR), {}),
    "rms_norm": ((ROWS, VECTOR), {}),
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


def check(function, op, operands, settings):
    """The version in float32 beside the op in float64."""
    expected = passes(op, as_floats(operands, np.float64), settings)
    for a, b in zip(passes(function, operands, settings), expected, strict=True):
        if b is not None:
            largest = np.abs(b[np.isfinite(b)]).max(initial=1e-3)
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * largest)


@pytest.mark.parametrize("name, function", VERSIONS)
def test_op(benchmark, name, function):
    operands, settings = case(name)
    check(function, TABLE[name], operands, settings)
    time.sleep(2 * PAUSE)  # NumPy's threads spin after the check, and would take the cores
    benchmark.group = name
    benchmark.pedantic(
        passes, (function, operands, settings), rounds=15, iterations=2, warmup_rounds=5
    )

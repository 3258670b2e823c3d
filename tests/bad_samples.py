"""For every operation an input that it must refuse, the error, and what the message must hold."""

from typing import NamedTuple

import numpy as np


class Bad(NamedTuple):
    name: str
    operands: tuple
    settings: dict
    error: type
    says: tuple


def bad(name, *shapes, error=ValueError, says, **settings):
    """Operands of ones of the given shapes; anything else than a shape is passed as it is."""
    operands = tuple(np.ones(s) if isinstance(s, tuple) else s for s in shapes)
    return Bad(name, operands, settings, error, says)


ATTENTION, HEADS = "scaled_dot_product_attention", (1, 2, 3, 4)
INTS, BOOLS = np.ones((1, 2, 2, 2), np.int64), np.ones((1, 2, 2, 2), bool)
ROW, MATRIX = INTS[0, 0, 0], INTS[0, 0]

BAD = [
    *(
        bad(name, (2, 3), (4,), says=("(2,", "(4,)"))
        for name in ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum")
    ),
    *(
        bad(name, (3,), error=TypeError, says=(name, "'axis'"), axis=1)
        for name in ("negative", "exp", "log", "sqrt", "abs", "relu", "sigmoid", "tanh", "silu")
    ),
    *(
        bad(name, (2, 3), (2, 3), error=TypeError, says=(name, "1 operands", "2 arguments"))
        for name in ("exp", "relu")
    ),
    *(
        bad(name, (2, 3), says=("axis 2", "dimension 2"), axis=2)
        for name in ("sum", "mean", "var", "max", "min", "softmax", "log_softmax")
    ),
    *(bad(name, (2, 0), says=("0 values", "(2, 0)"), axis=1) for name in ("mean", "max", "min")),
    bad("var", (2, 1), says=("1 values", "correction=1"), axis=1),
    bad("clip", (3,), says=("min and max", "None")),
    bad("gelu", (3,), says=("'erf'", "'none' and 'tanh'"), approximate="erf"),
    bad("reshape", (2, 3), says=("size 6", "(4,)"), shape=(4,)),
    bad("transpose", (2, 3), says=("axis 5", "dimension 2"), axis0=0, axis1=5),
    bad("permute", (2, 3), says=("1 axes", "(2, 3)"), axes=(0,)),
    bad("permute", (2, 3), says=("repeated",), axes=(0, 0)),
    bad("permute", (2, 3), says=("axis 2", "dimension 2"), axes=(0, 2)),
    bad("squeeze", (2, 3), says=("axis 1", "(2, 3)"), axis=1),
    bad("unsqueeze", (2, 3), says=("axis 5", "dimension 3"), axis=5),
    bad("broadcast_to", (3,), says=("(3,)", "(4,)"), shape=(4,)),
    bad("concatenate", (2, 2), (3, 3), says=("size 2", "size 3")),
    bad("concatenate", (2, 2), (2, 2), says=("axis 2", "dimension 2"), axis=2),
    bad("concatenate", says=("at least one",)),
    bad("stack", (2,), (3,), says=("(2,)", "(3,)")),
    bad("stack", says=("[]",)),
    bad("split", (5,), says=("[2, 2]", "(5,)"), sizes=[2, 2]),
    bad("split", (5,), says=("[6, -1]", "(5,)"), sizes=[6, -1]),
    bad("split", (5,), says=("size 0",), sizes=0),
    bad("split", (5,), says=("axis 1", "dimension 1"), sizes=2, axis=1),
    bad("getitem", (2, 3), error=IndexError, says=("5", "size 2"), index=5),
    bad("getitem", (2, 3), error=IndexError, says=("7", "size 3"), index=(0, np.array([1, 7]))),
    bad("getitem", (2, 3), error=IndexError, says=("2", "4"), index=np.ones(4, bool)),
    bad("where", (2, 3), (4,), says=("(2,3)", "(4,)"), condition=True),
    bad("masked_fill", (2, 3), says=("(4,)", "(2,3)"), mask=np.ones(4, bool), value=0),
    bad("embedding", (5, 2), says=("id 5", "5 rows"), ids=np.array([0, 5])),
    bad("embedding", (5, 2), says=("id -1", "5 rows"), ids=np.array([-1])),
    bad("embedding", (5, 2), says=("float64",), ids=np.array([1.0])),
    bad("dropout", (3,), says=("1.0",), p=1.0, seed=0),
    bad("dropout", (3,), says=("-0.1",), p=-0.1, seed=0),
    bad("dropout", (3,), says=("nan",), p=float("nan"), seed=0),
    bad("dropout", (3,), says=("-1",), p=0.5, seed=-1),
    bad("dropout", (3,), says=(str(2**64),), p=0.5, seed=2**64),
    bad("split_heads", (2, 3, 8), says=("(2, 3, 8)", "(1, 1, 1)"), heads=(1, 1, 1)),
    bad("split_heads", (2, 3, 8), says=("(2, 3, 8)", "(0, 2)"), heads=(0, 2)),
    bad("split_heads", (3, 8), says=("(3, 8)", "(2, 2)"), heads=(2, 2)),
    bad("join_heads", (2, 3, 8), says=("(2, 3, 8)", "(B, H, T, D)")),
    bad("matmul", (2, 3), (2, 3), says=("(2, 3)", "3 is not 2")),
    bad("matmul", (2, 3), (), says=("(2, 3)", "()")),
    bad("feed_forward", (2, 3), (5, 4), None, (2, 5), None, (2, 2), says=("(2, 3)", "(5, 4)")),
    bad("feed_forward", (2, 3), (5, 3), None, (2, 4), None, (2, 2), says=("(2, 5)", "(2, 4)")),
    bad("feed_forward", (2, 3), (5, 3), None, (2, 5), None, (2, 3), says=("(2, 3)", "(2, 5)")),
    bad(
        "feed_forward",
        *((2, 3), (5, 3), None, (2, 5), None, (2, 2)),
        says=("'erf'", "'none' and 'tanh'"),
        approximate="erf",
    ),
    bad(
        "swiglu",
        *((2, 3), (5, 3), None, (4, 3), None, (2, 5), None, (2, 2)),
        says=("(5, 3)", "(4, 3)"),
    ),
    bad(
        "swiglu",
        *((2, 3), (5, 4), None, (5, 4), None, (2, 5), None, (2, 2)),
        says=("(2, 3)", "(5, 4)"),
    ),
    bad(
        "swiglu",
        *((2, 3), (5, 3), None, (5, 3), None, (2, 4), None, (2, 2)),
        says=("(2, 5)", "(2, 4)"),
    ),
    bad(
        "swiglu",
        *((2, 3), (5, 3), None, (5, 3), None, (2, 5), None, (2, 3)),
        says=("(2, 3)", "(2, 5)"),
    ),
    bad("linear_residual", (2, 3), (5, 4), None, (2, 5), says=("(2, 3)", "(5, 4)")),
    bad("linear_residual", (2, 3), (5, 3), None, (2, 3), says=("(2, 3)", "(5, 3)")),
    bad("linear_residual", (2, 3), (5, 3), None, (2, 5), says=("1.0",), dropout_p=1.0),
    bad("linear", (2, 3), (5, 4), None, says=("(2, 3)", "(5, 4)")),
    bad("linear", (), (5, 4), None, says=("()", "(5, 4)")),
    bad("linear", (2, 3), (3,), None, says=("(2, 3)", "(3,)")),
    bad("linear", (2, 3), (5, 3), (4,), says=("(4,)", "(5, 3)")),
    bad("linear", (2, 3), (5, 3), (1,), says=("(1,)", "(5, 3)")),
    bad("layer_norm", (2, 3), (4,), None, says=("(2, 3)", "(4,)")),
    bad("layer_norm", (2, 3), (3,), (1,), says=("(2, 3)", "(1,)")),
    bad("layer_norm", (2, 0), (0,), None, says=("(2, 0)", "at least 1")),
    bad("rms_norm", (2, 3), (4,), says=("(2, 3)", "(4,)")),
    bad(ATTENTION, (2, 3), (2, 3), (2, 3), says=("(2, 3)", "(B, H, T, D)")),
    bad(ATTENTION, HEADS, (1, 2, 3, 5), (1, 2, 3, 5), says=(str(HEADS), "(1, 2, 3, 5)")),
    bad(ATTENTION, (1, 3, 3, 4), HEADS, HEADS, says=("(1, 3, 3, 4)", "multiple")),
    bad(ATTENTION, HEADS, HEADS, HEADS, says=("float64",), mask=np.zeros((3, 3))),
    bad(ATTENTION, HEADS, HEADS, HEADS, says=("(2, 1, 3, 3)",), mask=np.ones((2, 1, 3, 3), bool)),
    bad(ATTENTION, HEADS, HEADS, HEADS, says=("1.5",), dropout_p=1.5),
    bad("rotary", (5, 6), says=("(5, 6)", "(4, 3)"), cos=np.ones((4, 3)), sin=np.ones((4, 3))),
    bad("rotary", (5, 7), says=("(5, 7)", "even"), cos=np.ones((5, 3)), sin=np.ones((5, 3))),
    bad("rotary", (6,), says=("(6,)",), cos=np.ones(3), sin=np.ones(3)),
    bad("cross_entropy", (2, 3), says=("(3,)", "(2, 3)"), targets=np.array([0, 1, 2])),
    bad("cross_entropy", (2, 3), says=("id 3", "3 rows"), targets=np.array([0, 3])),
    bad("cross_entropy", (2, 3), says=("float64",), targets=np.array([0.0, 1.0])),
    bad("cross_entropy", (2, 3), says=("2 targets", "-100"), targets=np.array([-100, -100])),
    bad("cross_entropy", (2, 3), says=("'max'",), targets=np.array([0, 1]), reduction="max"),
    bad("cross_entropy", (2, 3), says=("1.5",), targets=np.array([0, 1]), label_smoothing=1.5),
    bad("linear_cross_entropy", (2, 3), (5, 4), says=("(2, 3)", "(5, 4)"), targets=np.array([0])),
    bad("linear_cross_entropy", (2, 3), (5, 3), says=("id 5", "5 rows"), targets=np.array([0, 5])),
    bad("mse_loss", (2, 3), (3,), says=("(2, 3)", "(3,)")),
    bad("mse_loss", (0,), (0,), says=("(0,)", "at least one")),
    *(
        bad(name, *ints, error=TypeError, says=(f"needs floats, got {ints[0].dtype}",), **settings)
        for name, ints, settings in (
            ("softmax", (INTS,), {}),
            ("softmax", (BOOLS,), {}),
            ("log_softmax", (INTS,), {}),
            ("silu", (INTS,), {}),
            ("gelu", (INTS,), {}),
            ("feed_forward", (INTS, MATRIX, None, MATRIX, None, INTS), {}),
            ("swiglu", (INTS, MATRIX, None, MATRIX, None, MATRIX, None, INTS), {}),
            ("layer_norm", (INTS, ROW, None), {}),
            ("rms_norm", (INTS, ROW), {}),
            ("dropout", (INTS,), {"p": 0.5, "seed": 0}),
            (ATTENTION, (INTS, INTS, INTS), {}),
            ("rotary", (MATRIX,), {"cos": np.ones((2, 1)), "sin": np.ones((2, 1))}),
            ("cross_entropy", (MATRIX,), {"targets": ROW}),
            ("linear_cross_entropy", (MATRIX, MATRIX), {"targets": ROW}),
            ("mse_loss", (INTS, INTS), {}),
        )
    ),
]

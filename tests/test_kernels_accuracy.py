"""Every kernel is as accurate as PyTorch, on numbers as training has them and at the edge of
float32, and gives the same bits each time.
"""

import math

import numpy as np
import pytest

from tests.kernel_laws import assert_as_accurate_as_torch, assert_deterministic, normal, results
from tinygrad_llm import ops
from tinygrad_llm.kernels import optimizer as kernels
from tinygrad_llm.ops import optimizer as reference
from tinygrad_llm.twins import kernel_of

pytest.importorskip("torch", reason="pip install torch: errors are compared with PyTorch's")
from tests.torch_ops import TORCH, torch  # noqa: E402

INF, NAN, HUGE = math.inf, math.nan, np.float32(1e30)
ONE = np.ones((), np.float32)
VALUES = {"huge": [HUGE, -HUGE], "NaN": [NAN], "infinite": [INF, -INF]}


def put(x, value, *where):
    """A copy of x with a value at an index; or at one place, where none is given."""
    x = x.copy()
    x[where or np.unravel_index(x.size // 3, x.shape)] = value
    return x


def unary(kind):
    x = np.linspace(-12, 12, 100_003, dtype=np.float32)
    special = {"huge": [HUGE, -HUGE, 1e-30, 50, -50], "NaN": [NAN, 1, NAN]}
    x = np.float32(special.get(kind, x))
    yield [x], normal(x.shape, 1)


def gelu(kind):
    for arrays, dy in unary(kind):
        for approximate in ("none", "tanh"):
            yield arrays, dy, {"approximate": approximate}


def factors(kind, a, b):
    """The two, or one of them with numbers of a kind: 1e30 times as large, else at one place."""
    if kind == "huge":
        return [(a * HUGE, b), (a, b * HUGE)]
    changed = ([(put(a, value), b), (a, put(b, value))] for value in VALUES.get(kind, []))
    return sum(changed, []) or [(a, b)]


def matmul(kind):
    shapes = [((300, 1000), (1000, 70)), ((2, 3, 40, 33), (2, 3, 33, 20))]
    if kind == "vectors":
        shapes = [((300,), (300, 500)), ((500, 300), (300,))]
    for first, second in shapes:
        dy = normal((np.ones(first) @ np.ones(second)).shape, 3)
        for a, b in factors(kind, normal(first, 1), normal(second, 2)):
            yield [a, b], dy


def linear(kind, *rest):
    bias = normal(70, 3) if kind == "bias" else None
    for x, weight in factors(kind, normal((2000, 130), 1), normal((70, 130), 2) / 4):
        yield [x, weight, bias, *rest], normal((2000, 70), 4)


def feed_forward(kind):
    w2, residual = normal((90, 70), 6) / 4, normal((2000, 90), 7)
    for arrays, _ in linear(kind):
        for approximate in ("none", "tanh"):
            operands = [*arrays, w2, None, residual]
            yield operands, normal((2000, 90), 8), {"approximate": approximate}


def swiglu(kind):
    w_up, w_down = normal((70, 130), 6) / 4, normal((90, 70), 7) / 4
    for (x, w_gate, bias), _ in linear(kind):
        operands = [x, w_gate, bias, w_up, None, w_down, None, normal((2000, 90), 8)]
        yield operands, normal((2000, 90), 9)


def rotary(kind):
    angles = np.random.default_rng(4).random((70, 16)).astype(np.float32) * 7
    x, settings = normal((2, 3, 70, 32), 1), {"cos": np.cos(angles), "sin": np.sin(angles)}
    for value in [1, *VALUES.get(kind, [])]:
        yield [put(x, value)], normal(x.shape, 2), settings


def linear_residual(kind):
    dropping = {"dropout_p": 0.3, "seed": 7}
    for settings in [{}, dropping] if kind in ("ordinary", "bias") else [{}]:
        for arrays, dy in linear(kind, normal((2000, 70), 5)):
            yield arrays, dy, settings


def logits(kind):
    """Rows of scores; one of each row is special, or many are masked, or whole rows are."""
    x = normal((600, 300), 1, 3)
    if kind == "masked":
        return [put(x, -INF, ..., slice(None, None, 5)), put(x, -INF, slice(None, None, 3))]
    return [put(x, value, ..., 7) for value in VALUES.get(kind, [])] or [x, 100 * x]


def softmax(kind):
    for x in logits(kind):
        yield [x], normal(x.shape, 2), {"axis": -1}


def targets(count, size):
    return np.random.default_rng(3).integers(0, size, count)


def cross_entropy(kind):
    for x in logits(kind):
        for reduction in ("mean", "sum"):
            yield [x], ONE, {"targets": targets(*x.shape), "reduction": reduction}


def linear_cross_entropy(kind):
    for x, weight in factors(kind, normal((600, 40), 1), normal((300, 40), 2)):
        yield [x, weight], ONE, {"targets": targets(600, 300)}


def norm(kind, eps, *parameters):
    x = normal((600, 130), 1)
    equal = put(x, 7, slice(None, None, 3))  # rows of one number
    inputs = [x, x + 1000, 1e-30 * x, equal]
    for inside in [put(x, value, ..., 7) for value in VALUES.get(kind, [])] or inputs:
        yield [np.float32(inside), *parameters], normal(x.shape, 4), {"eps": eps}


def embedding(kind):
    weight, ids = normal((50, 24), 2), targets((20, 100), 50)
    for dy in [put(normal((20, 100, 24), 1), v) for v in [1, *VALUES.get(kind, [])]]:
        yield [weight], dy, {"ids": ids}


def add(kind):
    a, b = normal((130, 257), 1), normal((130, 257), 2)
    for value in [1, *VALUES.get(kind, [])]:
        yield [put(a, value), b], normal(a.shape, 3)


def attention(kind):
    q, k, v, dy = (normal((2, 3, 70, 64), seed) for seed in range(4))
    mask = np.random.default_rng(4).random((2, 1, 70, 70)) < 0.5
    mask[:, :, ::9] = False  # rows that see no key
    if kind == "ordinary":
        yield [q, k[:, :1], v[:, :1]], dy, {"is_causal": True}  # all query heads on one key head
    if kind == "masked":
        settings = [{"mask": mask}, {"mask": mask, "is_causal": True}]
    elif kind in ("NaN", "infinite"):
        settings = [{}]
    else:
        settings = [{}, {"is_causal": True}]
    for setting in settings:
        for arrays in queries_keys_values(kind, q, k, v):
            yield arrays, dy, setting


def queries_keys_values(kind, q, k, v):
    for value in VALUES.get(kind, []):
        yield from ([put(q, value), k, v], [q, put(k, value), v])
        yield [q, k, v * HUGE if kind == "huge" else put(v, value)]
    if kind not in VALUES:
        yield from ([q, k, v], [8 * q, 8 * k, v])


CASES = {  # the op's operands, and the kinds of numbers that it admits
    "add": (add, "ordinary huge NaN infinite"),
    "silu": (unary, "ordinary huge NaN"),
    "gelu": (gelu, "ordinary huge NaN"),
    "embedding": (embedding, "ordinary huge NaN infinite"),
    "matmul": (matmul, "ordinary vectors huge NaN infinite"),
    "linear": (linear, "ordinary bias huge NaN infinite"),
    "feed_forward": (feed_forward, "ordinary bias huge NaN"),
    "swiglu": (swiglu, "ordinary bias huge NaN"),
    "rotary": (rotary, "ordinary huge NaN infinite"),
    "linear_residual": (linear_residual, "ordinary bias huge NaN infinite"),
    "softmax": (softmax, "ordinary masked huge NaN"),
    "log_softmax": (softmax, "ordinary masked huge NaN"),
    "layer_norm": (
        lambda kind: norm(kind, 1e-5, normal(130, 2) + 1, normal(130, 3)),
        "ordinary huge NaN infinite",
    ),
    "rms_norm": (lambda kind: norm(kind, 1e-6, normal(130, 2) + 1), "ordinary huge NaN infinite"),
    "scaled_dot_product_attention": (attention, "ordinary masked huge NaN infinite"),
    "cross_entropy": (cross_entropy, "ordinary masked huge NaN"),
    "linear_cross_entropy": (linear_cross_entropy, "ordinary huge NaN"),
}
ALL = [(name, kind) for name, (_, kinds) in CASES.items() for kind in kinds.split()]
WITHOUT_ERROR = {"dropout", "split_heads"}  # the one draws by chance, the other only looks


def test_every_kernel_is_measured():
    assert {name for name, op in ops.TABLE.items() if kernel_of(op)} == CASES.keys() | WITHOUT_ERROR


def cases(name, kind):
    """(operands, dy, settings) of an op."""
    for arrays, dy, *settings in CASES[name][0](kind):
        yield arrays, dy, settings[0] if settings else {}


@pytest.mark.parametrize("name, kind", ALL)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of NaN and infinity
def test_as_accurate_as_torch(name, kind):
    for arrays, dy, settings in cases(name, kind):
        assert_as_accurate_as_torch(
            ops.TABLE[name], lambda *x, s=settings: TORCH[name](*x, **s), arrays, dy, settings
        )


@pytest.mark.parametrize("name, kind", ALL)
def test_the_same_bits_each_time(name, kind):
    for arrays, dy, settings in cases(name, kind):
        assert_deterministic(ops.TABLE[name], arrays, dy, settings)


@pytest.mark.parametrize("place", [1, 2], ids=["keys", "values"])
def test_a_query_that_sees_nan_says_so(place):
    arrays, mask = [normal((1, 2, 70, 16), seed) for seed in range(3)], np.tri(70, dtype=bool)
    mask[::4, 20] = False
    arrays[place] = put(arrays[place], NAN, ..., 20, slice(None))
    attention = kernel_of(ops.TABLE["scaled_dot_product_attention"])
    for settings in ({"mask": mask}, {"mask": mask, "is_causal": True}):
        y = results(attention, arrays, settings, normal((1, 2, 70, 16)))[0]
        assert np.isnan(y[:, :, mask[:, 20]]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of NaN
@pytest.mark.parametrize("place", [0, 1, 2], ids=["queries", "keys", "values"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "mask"])
@pytest.mark.parametrize("t", [8, 70, 200])
def test_nan_behind_a_mask_shows_nowhere_where_the_reference_shows_none(t, causal, place):
    arrays, mask = [normal((1, 2, t, 16), seed) for seed in range(3)], np.ones((t, t), bool)
    mask[::3, t // 2] = False
    arrays[place] = put(arrays[place], NAN, ..., t // 2, slice(None))
    settings = {"is_causal": True} if causal else {"mask": mask}
    op, dy = ops.TABLE["scaled_dot_product_attention"], normal((1, 2, t, 16), 4)
    pairs = zip(*(results(f, arrays, settings, dy) for f in (kernel_of(op), op)), strict=True)
    assert all(np.isnan(theirs[np.isnan(ours)]).all() for ours, theirs in pairs)


def steps_of_adamw(room, dtype, scale):
    """The weights after five steps."""
    state = [normal(5000, 1).astype(dtype), None, np.zeros(5000, dtype), np.zeros(5000, dtype)]
    for step in range(1, 6):
        state[1] = (normal(5000, step + 10) * np.float32(scale)).astype(dtype)
        room.adamw(
            *state, lr=1e-2, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, step=step
        )
    return state[0]


@pytest.mark.parametrize("scale", [1, 1e-6, 1e15])
def test_adamw_is_as_accurate_as_torch(scale):
    weights = torch.nn.Parameter(torch.tensor(normal(5000, 1)))
    optimizer = torch.optim.AdamW([weights], lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
    for step in range(1, 6):
        weights.grad = torch.tensor(normal(5000, step + 10) * np.float32(scale))
        optimizer.step()
    true = steps_of_adamw(reference, np.float64, scale)
    ours, theirs = steps_of_adamw(kernels, np.float32, scale), weights.detach().numpy()
    assert np.abs(ours - true).max() <= 2 * np.abs(theirs - true).max()

"""The laws that every operation of the table obeys, each checked on samples of every shape.

A law is one test, the operations are its parameters.
"""

import importlib
import inspect
import zlib

import numpy as np
import pytest

from tests.bad_samples import BAD
from tests.samples import MAKERS, samples
from tinygrad_llm import ops
from tinygrad_llm.explain.gradcheck import max_error
from tinygrad_llm.tensor import Tensor, lift, watch
from tinygrad_llm.twins import choose, kernel_of, reference

NAMES = sorted(ops.TABLE)
KERNELS = [name for name in NAMES if kernel_of(ops.TABLE[name])]
every_op = pytest.mark.parametrize("name", NAMES)


def is_floats(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def convert(operands, dtype):
    return tuple(x.astype(dtype) if is_floats(x) else x for x in operands)


def call(function, operands, settings, dys=None, needs=None):
    """(values, gradients) of an op or kernel; dys are drawn unless given."""
    value, backward = function(*operands, **settings)
    values = value if isinstance(value, tuple) else (value,)
    rng = np.random.default_rng(5)
    if dys is None:
        dys = [rng.standard_normal(np.shape(y)).astype(np.asarray(y).dtype) for y in values]
    incoming = tuple(dys) if isinstance(value, tuple) else dys[0]
    if backward.__code__.co_argcount == 1:
        return values, backward(incoming)
    return values, backward(incoming, [is_floats(x) for x in operands] if needs is None else needs)


def saved(function):
    """Every array that a backward's closure holds."""
    for cell in function.__closure__ or ():
        if callable(cell.cell_contents):
            yield from saved(cell.cell_contents)
        elif isinstance(cell.cell_contents, np.ndarray):
            yield cell.cell_contents


def on_tape(name, operands, settings, dtype):
    """(values, gradients of the operands) through the tape, contracted with fixed dys."""
    leaves = [Tensor(x.astype(dtype), True) if is_floats(x) else x for x in operands]
    y = lift(ops.TABLE[name])(*leaves, **settings)
    outputs = y if isinstance(y, tuple) else (y,)
    for i, out in enumerate(outputs):
        out.backward(fixed(i, out.shape), retain_graph=True)
    return [out.data for out in outputs], [x.grad for x in leaves if isinstance(x, Tensor)]


def fixed(i, shape):
    return np.random.default_rng(i).standard_normal(shape)


def close(a, b, tolerance):
    """Within the tolerance of the largest finite value; infinities in the same places."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    largest = max(1.0, np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)


def agree(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b)
        close(a, b, tolerance)


@every_op
def test_has_samples_and_bad_samples(name):
    assert name in MAKERS and any(bad.name == name for bad in BAD)


@every_op
def test_backward_equals_central_differences(name):
    for operands, settings in samples(name):
        with np.errstate(invalid="ignore"):
            assert max_error(lambda *x: lift(ops.TABLE[name])(*x, **settings), *operands) < 1e-6


@every_op
def test_float32_in_gives_float32_out_and_back(name):
    for operands, settings in samples(name):
        operands = convert(operands, np.float32)
        values, gradients = call(ops.TABLE[name], operands, settings)
        arrays = [*values, *(g for g in gradients if g is not None)]
        assert {np.asarray(x).dtype for x in arrays} == {np.dtype(np.float32)}
        backward = ops.TABLE[name](*operands, **settings)[1]
        assert all(x.dtype != np.float64 for x in saved(backward))


@every_op
def test_float32_stays_float32_on_the_tape(name):
    seen = []
    with watch(lambda op, operands, settings, outputs: seen.extend(y.dtype for y in outputs)):
        for operands, settings in samples(name):
            gradients = on_tape(name, operands, settings, np.float32)[1]
            assert all(g.dtype == np.float32 for g in gradients)
    assert set(seen) == {np.dtype(np.float32)}


@every_op
@pytest.mark.filterwarnings("ignore:var")  # PyTorch warns of a variance over an empty result
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_agrees_with_pytorch(name, dtype, tolerance):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[peers]'")
    from tests.torch_ops import TORCH

    for operands, settings in samples(name, 10):
        leaves = [
            torch.tensor(x.astype(dtype), requires_grad=True) if is_floats(x) else x
            for x in operands
        ]
        y = TORCH[name](*leaves, **settings)
        outputs = y if isinstance(y, tuple) else (y,)
        dys = [torch.tensor(fixed(i, out.shape), dtype=out.dtype) for i, out in enumerate(outputs)]
        torch.autograd.backward(outputs, dys)
        peers = [
            torch.zeros_like(x) if x.grad is None else x.grad for x in leaves if torch.is_tensor(x)
        ]
        values, gradients = on_tape(name, operands, settings, dtype)
        agree(values, [out.detach().numpy() for out in outputs], tolerance)
        agree(gradients, [g.numpy() for g in peers], tolerance)


def takes_arrays(function):
    """Whether its signature is that of an op: positional-only operands."""
    return any(p.kind is p.POSITIONAL_ONLY for p in inspect.signature(function).parameters.values())


@pytest.mark.parametrize(
    "room",
    [
        "activations",
        "attention",
        "elementwise",
        "feed_forward",
        "losses",
        "matmul",
        "normalize",
        "optimizer",
        "reductions",
        "rotary",
        "selection",
        "shapes",
        "swiglu",
    ],
)
def test_every_kernel_has_an_op_of_its_name_and_signature(room):
    try:
        kernels = importlib.import_module(f"tinygrad_llm.kernels.{room}")
    except ModuleNotFoundError:
        pytest.skip(f"kernels/{room}.py does not exist: its operations run in NumPy")
    twins = importlib.import_module(f"tinygrad_llm.ops.{room}")
    public = [
        f
        for name, f in inspect.getmembers(kernels, inspect.isfunction)
        if f.__module__ == kernels.__name__ and not name.startswith("_")
    ]
    assert any(map(takes_arrays, public))
    for kernel in filter(takes_arrays, public):
        assert inspect.signature(kernel) == inspect.signature(getattr(twins, kernel.__name__))


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_equals_its_op(name):
    for operands, settings in samples(name, 5):
        single = convert(operands, np.float32)
        values, gradients = on_tape(name, single, settings, np.float32)
        with reference():
            expected, theirs = on_tape(name, convert(single, np.float64), settings, np.float64)
        agree(values, expected, 1e-5)
        agree(gradients, theirs, 2e-5)


def scattered(x):
    """The same values with gaps between them and the axes stored in reverse."""
    if not is_floats(x) or x.ndim == 0:
        return x
    wide = np.full((*(2 * n for n in x.shape[::-1]),), np.nan, x.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in x.shape)].transpose()
    view[...] = x
    return view


@every_op
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_with_gaps_equal_contiguous_ones(name, dtype):
    function = choose(ops.TABLE[name], np.dtype(dtype))
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for operands, settings in samples(name):
        operands = convert(operands, dtype)
        dys = [
            fixed(i, np.shape(y)).astype(dtype)
            for i, y in enumerate(call(function, operands, settings)[0])
        ]
        values, gradients = call(function, operands, settings, dys)
        again, gradients_again = call(
            function, tuple(map(scattered, operands)), settings, list(map(scattered, dys))
        )
        agree(again, values, tolerance)
        assert [g is None for g in gradients_again] == [g is None for g in gradients]
        agree(
            [g for g in gradients_again if g is not None],
            [g for g in gradients if g is not None],
            tolerance,
        )


@every_op
def test_nothing_is_written_into_operands_or_dy(name):
    for dtype in (np.float64, np.float32):
        for operands, settings in samples(name):
            operands = convert(operands, dtype)
            values, _ = call(ops.TABLE[name], operands, settings)
            dys = [fixed(i, np.shape(y)).astype(dtype) for i, y in enumerate(values)]
            held = [x for x in (*operands, *dys, *settings.values()) if isinstance(x, np.ndarray)]
            sums = [zlib.crc32(np.ascontiguousarray(x)) for x in held]
            for x in held:
                x.flags.writeable = False
            call(choose(ops.TABLE[name], np.dtype(dtype)), operands, settings, dys)
            assert [zlib.crc32(np.ascontiguousarray(x)) for x in held] == sums


@every_op
def test_frozen_operands_get_no_gradient(name):
    for dtype in (np.float64, np.float32):
        for operands, settings in samples(name):
            operands = convert(operands, dtype)
            for kept in (i for i, x in enumerate(operands) if is_floats(x)):
                leaves = {i: Tensor(x, i == kept) for i, x in enumerate(operands) if is_floats(x)}
                given = [leaves.get(i, x) for i, x in enumerate(operands)]
                y = lift(ops.TABLE[name])(*given, **settings)
                for i, out in enumerate(y if isinstance(y, tuple) else (y,)):
                    out.backward(fixed(i, out.shape), retain_graph=True)
                assert [i for i, leaf in leaves.items() if leaf.grad is not None] == [kept]


@every_op
def test_a_gradient_alone_equals_the_one_among_all(name):
    for dtype in (np.float64, np.float32):
        function = choose(ops.TABLE[name], np.dtype(dtype))
        for operands, settings in samples(name):
            operands = convert(operands, dtype)
            _, everything = call(function, operands, settings)
            for kept in (i for i, x in enumerate(operands) if is_floats(x)):
                needs = [i == kept for i in range(len(operands))]
                _, alone = call(function, operands, settings, needs=needs)
                close(alone[kept], everything[kept], 1e-12 if dtype == np.float64 else 1e-6)


def test_dear_operations_skip_what_is_not_needed():
    for name in (
        "matmul",
        "linear",
        "feed_forward",
        "swiglu",
        "linear_residual",
        "multiply",
        "divide",
        "power",
        "layer_norm",
        "rms_norm",
        "scaled_dot_product_attention",
    ):
        operands, settings = next(s for s in samples(name, 20) if all(map(is_floats, s.operands)))
        _, gradients = call(ops.TABLE[name], operands, settings, needs=[False] * len(operands))
        assert all(g is None for g in gradients), name


@every_op
def test_random_cases(name):
    """25 random shapes for each operation: float64 against differences, float32 against float64."""
    for operands, settings in samples(name, 25):
        with np.errstate(invalid="ignore"):
            assert max_error(lambda *x: lift(ops.TABLE[name])(*x, **settings), *operands) < 1e-6
        double, double_gradients = on_tape(name, operands, settings, np.float64)
        single, single_gradients = on_tape(name, operands, settings, np.float32)
        agree(single, double, 2e-5)
        agree(single_gradients, double_gradients, 5e-5)


def test_there_are_a_thousand_random_cases():
    assert len(NAMES) * (len(list(samples("add", 25))) - len(list(samples("add")))) >= 1000


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_with_its_values(bad, dtype):
    with pytest.raises(bad.error) as caught:
        lift(ops.TABLE[bad.name])(*convert(bad.operands, dtype), **bad.settings)
    for value in bad.says:
        assert value in str(caught.value)

"""The laws that every operation of the table obeys, each checked on samples of every shape.

A law is one test; the operations are its parameters. What an operation must refuse is in bad_samples.py.
"""

import importlib
import inspect
import math
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
    dys = [rng.standard_normal(np.shape(y)).astype(np.asarray(y).dtype) for y in values] if dys is None else dys
    incoming = dys[0] if not isinstance(value, tuple) else tuple(dys)
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
        assert not [x for x in saved(ops.TABLE[name](*operands, **settings)[1]) if x.dtype == np.float64]


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
        leaves = [torch.tensor(x.astype(dtype), requires_grad=True) if is_floats(x) else x for x in operands]
        y = TORCH[name](*leaves, **settings)
        outputs = y if isinstance(y, tuple) else (y,)
        torch.autograd.backward(outputs, [torch.tensor(fixed(i, tuple(out.shape)), dtype=out.dtype)
                                          for i, out in enumerate(outputs)])
        peers = [x.grad if x.grad is not None else torch.zeros_like(x) for x in leaves if torch.is_tensor(x)]
        values, gradients = on_tape(name, operands, settings, dtype)
        agree(values, [out.detach().numpy() for out in outputs], tolerance)
        agree(gradients, [g.numpy() for g in peers], tolerance)


def takes_arrays(function):
    """Whether its signature is that of an op: positional-only operands."""
    return any(p.kind is p.POSITIONAL_ONLY for p in inspect.signature(function).parameters.values())


@pytest.mark.parametrize("room", ["activations", "attention", "elementwise", "losses", "matmul", "normalize",
                                  "optimizer", "reductions", "selection", "shapes"])
def test_every_kernel_has_an_op_of_its_name_and_signature(room):
    try:
        kernels = importlib.import_module(f"tinygrad_llm.kernels.{room}")
    except ModuleNotFoundError:
        pytest.skip(f"kernels/{room}.py does not exist: its operations run in NumPy")
    twins = importlib.import_module(f"tinygrad_llm.ops.{room}")
    public = [f for n, f in vars(kernels).items() if inspect.isfunction(f) and f.__module__ == kernels.__name__
              and not n.startswith("_") and takes_arrays(f)]
    assert public
    for kernel in public:
        assert inspect.signature(kernel) == inspect.signature(getattr(twins, kernel.__name__))


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_equals_its_op(name):
    for operands, settings in samples(name, 5):
        single = convert(operands, np.float32)
        values, gradients = on_tape(name, single, settings, np.float32)
        with reference():
            expected, expected_gradients = on_tape(name, convert(single, np.float64), settings, np.float64)
        agree(values, expected, 1e-5)
        agree(gradients, expected_gradients, 2e-5)


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
    for operands, settings in samples(name):
        operands = convert(operands, dtype)
        values, gradients = call(function, operands, settings)
        dys = [scattered(np.random.default_rng(5).standard_normal(np.shape(y)).astype(dtype)) for y in values]
        dys = [np.asarray(dy) for dy in dys] if len(dys) == 1 else None
        again, gradients_again = call(function, tuple(map(scattered, operands)), settings, dys)
        agree(again, values, 1e-12 if dtype == np.float64 else 1e-5)
        for a, b in zip(gradients_again, gradients, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                close(a, b, 1e-12 if dtype == np.float64 else 1e-5)


@every_op
def test_nothing_is_written_into_operands_or_dy(name):
    for dtype in (np.float64, np.float32):
        for operands, settings in samples(name):
            operands = convert(operands, dtype)
            values, _ = call(ops.TABLE[name], operands, settings)
            dys = [np.random.default_rng(3).standard_normal(np.shape(y)).astype(dtype) for y in values]
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
            arrays = [i for i, x in enumerate(operands) if is_floats(x)]
            _, everything = call(choose(ops.TABLE[name], np.dtype(dtype)), operands, settings)
            for kept in arrays:
                leaves = [Tensor(x, i == kept) if is_floats(x) else x for i, x in enumerate(operands)]
                y = lift(ops.TABLE[name])(*leaves, **settings)
                for i, out in enumerate(y if isinstance(y, tuple) else (y,)):
                    out.backward(fixed(i, out.shape), retain_graph=True)
                assert [leaf.grad is not None for leaf in leaves if isinstance(leaf, Tensor)] == [
                    i == kept for i in arrays]
                needs = [i == kept for i in range(len(operands))]
                alone = call(choose(ops.TABLE[name], np.dtype(dtype)), operands, settings, needs=needs)[1]
                np.testing.assert_array_equal(alone[kept], everything[kept])


def test_dear_operations_skip_what_is_not_needed():
    for name in ("matmul", "linear", "multiply", "divide", "power", "layer_norm", "rms_norm",
                 "scaled_dot_product_attention"):
        operands, settings = next(s for s in samples(name, 20) if all(map(is_floats, s.operands)))
        _, gradients = call(ops.TABLE[name], operands, settings, needs=[False] * len(operands))
        assert all(g is None for g in gradients), name


@every_op
def test_random_cases(name):
    """25 random shapes for each operation, 1,200 in all: float64 against differences, float32 against it."""
    for operands, settings in samples(name, 25):
        with np.errstate(invalid="ignore"):
            assert max_error(lambda *x: lift(ops.TABLE[name])(*x, **settings), *operands) < 1e-6
        double, double_gradients = on_tape(name, operands, settings, np.float64)
        single, single_gradients = on_tape(name, operands, settings, np.float32)
        agree(single, double, 2e-5)
        agree(single_gradients, double_gradients, 5e-5)


def test_there_are_a_thousand_random_cases():
    assert len(NAMES) * 25 >= 1000 and math.prod([len(list(samples("add", 25)))]) == 12 + 25


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_with_its_values(bad, dtype):
    with pytest.raises(bad.error) as caught:
        lift(ops.TABLE[bad.name])(*convert(bad.operands, dtype), **bad.settings)
    for value in bad.says:
        assert value in str(caught.value)

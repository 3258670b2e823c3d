"""What every kernel is held to: its twin in float64, PyTorch's float32 error, arrays with gaps, one
result each run.
"""

import numpy as np

from tinygrad_llm.kernels import threads
from tinygrad_llm.twins import kernel_of


def results(function, arrays, settings, dy):
    """[y, dx, ...] of an op or a kernel; None stands for operands without a gradient."""
    y, backward = function(*arrays, **settings)
    dy = np.broadcast_to(dy, y.shape)
    gradients = (
        backward(dy)
        if backward.__code__.co_argcount == 1
        else backward(dy, [a is not None for a in arrays])
    )
    return [y, *gradients]


def normal(shape, seed=0, scale=1.0):
    """Standard normal float32 numbers."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def layouts(x):
    """The same values with no gaps, with gaps, and in another order of axes."""
    gaps = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    gaps[...] = x
    return [x, gaps, np.asfortranarray(x), x[::-1].copy()[::-1]]


def assert_equals_reference(op, arrays, dy, settings=None, rtol=2e-6):
    """Kernel in float32 against op in float64: within rtol of the largest value, NaN in the same
    places.
    """
    settings, scale = settings or {}, np.abs(dy).max(initial=1e-3)
    wide = [None if a is None else a.astype(np.float64) for a in arrays]
    with np.errstate(all="ignore"):
        expected = results(op, wide, settings, dy.astype(np.float64))
    got = results(kernel_of(op), arrays, settings, dy)
    for a, b in zip(got, expected, strict=True):
        if b is None:
            continue
        assert a.dtype == np.float32 and a.shape == b.shape
        largest = np.abs(b[np.isfinite(b)]).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(largest, scale))
    return got


def assert_deterministic(op, arrays, dy, settings=None):
    """The same bits from run to run, and with one thread as with all."""
    every = threads.get_num_threads()
    runs = [results(kernel_of(op), arrays, settings or {}, dy) for _ in range(2)]
    try:
        threads.set_num_threads(1)
        runs.append(results(kernel_of(op), arrays, settings or {}, dy))
    finally:
        threads.set_num_threads(every)
    for other in runs[1:]:
        assert all(
            a is b is None or np.array_equal(a, b, equal_nan=True)
            for a, b in zip(runs[0], other, strict=True)
        )


def assert_as_accurate_as_torch(op, torch_op, arrays, dy, settings=None):
    """The kernel's largest error is at most twice that of PyTorch's float32 op, or one rounding of
    the largest value.

    Where the truth is NaN or infinite and PyTorch says so, the kernel does; where PyTorch alone is
    NaN or infinite, its error is beyond any bound.
    """
    import torch

    settings = settings or {}
    wide = [None if a is None else a.astype(np.float64) for a in arrays]
    with np.errstate(all="ignore"):
        truth = results(op, wide, settings, dy.astype(np.float64))
    leaves = [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    y = torch_op(*leaves)
    y.backward(torch.tensor(dy).expand_as(y))
    peer = [y.detach(), *(None if leaf is None else leaf.grad for leaf in leaves)]
    for ours, theirs, true in zip(
        results(kernel_of(op), arrays, settings, dy), peer, truth, strict=True
    ):
        if true is not None:
            assert ours.dtype == np.float32 and ours.shape == true.shape
            _assert_as_accurate(ours, theirs.numpy(), true)


def _assert_as_accurate(ours, theirs, true):
    same = ~np.isfinite(true) & ((theirs == true) | (np.isnan(theirs) & np.isnan(true)))
    np.testing.assert_array_equal(ours[same], true[same])
    finite = np.isfinite(true) & np.isfinite(theirs)
    ours, theirs, true = ours[finite], theirs[finite], true[finite]
    rounding = np.finfo(np.float32).eps * np.abs(true).max(initial=0)
    error, allowed = np.abs(ours - true).max(initial=0), 2 * np.abs(theirs - true).max(initial=0)
    assert error <= max(allowed, rounding)

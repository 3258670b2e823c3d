"""Which of the two runs, op or kernel, and that the choice restores itself."""

import sys
import threading
import types

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm import ops, twins
from tinygrad_llm.tensor import Tensor


@pytest.fixture
def twin(monkeypatch):
    """A kernel of exp that answers 42, in place of whatever kernels/elementwise.py holds."""
    module = types.ModuleType("tinygrad_llm.kernels.elementwise")

    def exp(x, /):
        assert x.dtype == np.float32
        return np.full_like(x, 42), lambda dy: (dy,)

    exp.__module__ = module.__name__
    module.exp, module.log = exp, np.log
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(twins.importlib.util, "find_spec", lambda name: module)
    twins.kernel_of.cache_clear()
    yield
    twins.kernel_of.cache_clear()


X = np.zeros(2, np.float32)


def test_kernels_are_the_default_and_reference_switches_them_off(twin):
    assert F.exp(X).data.tolist() == [42, 42]
    with twins.reference():
        assert F.exp(X).data.tolist() == [1, 1]
        with twins.kernels():
            assert F.exp(X).data.tolist() == [42, 42]
        assert F.exp(X).data.tolist() == [1, 1]
    assert F.exp(X).data.tolist() == [42, 42]


def test_the_choice_restores_itself_after_an_error(twin):
    with pytest.raises(ZeroDivisionError), twins.reference():
        raise ZeroDivisionError
    assert F.exp(X).data.tolist() == [42, 42]


def test_kernels_see_only_float32(twin):
    assert F.exp(X.astype(np.float64)).data.tolist() == [1, 1]
    assert F.exp(np.zeros(2, np.int64)).data.tolist() == [1, 1]


def test_a_function_that_the_kernels_file_imports_is_no_kernel(twin):
    assert twins.kernel_of(ops.TABLE["exp"]) and twins.kernel_of(ops.TABLE["log"]) is None


def test_an_op_of_a_users_own_has_no_kernel():
    def own(x, /):
        return x, lambda dy: (dy,)

    own.__module__ = "someone.ops.theirs"
    assert twins.kernel_of(own) is None and twins.choose(own, np.dtype(np.float32)) is own


def test_mixed_dtypes_run_the_reference():
    weight = np.ones((2, 3))
    y = F.linear(np.ones((1, 3), np.float32), Tensor(weight))
    assert y.dtype == np.float64 and y.data.tolist() == [[3, 3]]


def test_a_new_thread_starts_with_the_default(twin):
    seen = []
    with twins.reference():
        thread = threading.Thread(target=lambda: seen.append(F.exp(X).data[0]))
        thread.start()
        thread.join()
    assert seen == [42]

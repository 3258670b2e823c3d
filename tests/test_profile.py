"""The profile counts what was done, changes nothing, and adds up."""

import json

import numpy as np
import pytest

from tests.test_cli import refuse
from tests.test_pretrain import TINY
from tinygrad_llm import Tensor, twins
from tinygrad_llm import functional as F
from tinygrad_llm.cli.main import main
from tinygrad_llm.recipes.op_times import OpTimes, forward_bytes, product_flops
from tinygrad_llm.recipes.profile import profile
from tinygrad_llm.recipes.settings import preset

KEYS = ("n_layer", "n_head", "n_embd", "n_positions", "batch_size")
SETTINGS = [f"--set={key}={TINY[key]}" for key in KEYS]


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)


def test_a_layer_by_hand():
    x, weight = Tensor(normal(6, 4), True), Tensor(normal(3, 4), True)
    times = OpTimes()
    with times.watching():
        F.linear(x, weight).sum().backward()
    forward, backward = times.rows["linear", "forward"], times.rows["linear", "backward"]
    assert (forward.calls, forward.flops) == (1, 2 * 6 * 4 * 3)
    assert forward.bytes == 4 * (6 * 4 + 3 * 4 + 6 * 3)  # x, W, y
    assert backward.flops == 2 * forward.flops  # dx and dW
    assert backward.bytes == forward.bytes + 4 * (6 * 4 + 3 * 4)  # and dx, dW
    assert times.seconds == sum(row.seconds for row in times.rows.values()) > 0
    assert forward.gflops == forward.flops / forward.seconds / 1e9


def test_formulas_of_products():
    heads = normal(2, 3, 8, 4)
    whole = product_flops("scaled_dot_product_attention", (heads, heads, heads), {})
    assert whole == 2 * (2 * 2 * 3 * 8 * 8 * 4)  # q k^T and W v
    causal = product_flops("scaled_dot_product_attention", (heads,) * 3, {"is_causal": True})
    assert causal == whole / 2
    assert product_flops("matmul", (normal(5, 2, 3), normal(3, 7)), {}) == 2 * 5 * 2 * 3 * 7
    assert product_flops("matmul", (normal(3), normal(3)), {}) == 2 * 3
    x, square = normal(5, 4), normal(4, 4)
    assert product_flops("linear_residual", (x, square, None, x), {}) == 2 * 5 * 4 * 4
    assert product_flops("gelu", (heads,), {}) == 0


def test_views_move_nothing():
    x = normal(4, 6)
    assert forward_bytes("transpose", (x,), x.T) == 0
    assert forward_bytes("exp", (x,), np.exp(x)) == 2 * x.nbytes
    table = normal(1000, 8)
    assert forward_bytes("embedding", (table,), table[[1, 2]]) == 2 * 2 * 8 * 4


def gradients_of_a_layer():
    """Those of the input and of a weight that has memory for its own, as an optimizer gives it."""
    x, weight = Tensor(normal(6, 8), True), Tensor(normal(8, 8), True)
    weight.grad = np.zeros((8, 8), np.float32)
    F.cross_entropy(F.gelu(F.linear(x, weight)), np.arange(6)).backward()
    return x.grad, weight.grad


def test_watching_changes_no_gradient_and_ends():
    choose, plain = twins.choose, gradients_of_a_layer()
    with OpTimes().watching():
        assert all(map(np.array_equal, gradients_of_a_layer(), plain))
    assert twins.choose is choose
    with pytest.raises(ZeroDivisionError), OpTimes().watching():
        raise ZeroDivisionError
    assert twins.choose is choose


def test_every_operation_of_a_step_is_there():
    settings = preset("char-cpu").updated({key: TINY[key] for key in KEYS})
    found = profile(settings, steps=2)
    seen = {(row.op, row.direction): row.calls for row in found.rows}
    layers = settings.model.n_layer
    attention = "scaled_dot_product_attention"
    assert seen[attention, "forward"] == seen[attention, "backward"] == layers
    assert seen["layer_norm", "forward"] == 2 * layers + 1
    assert any(op == "adamw" for op, direction in seen if direction == "update")
    assert found.rows == sorted(found.rows, key=lambda row: -row.seconds)
    assert found.tokens == settings.loop.batch_size * settings.model.n_positions
    assert found.step > 0 and found.python > 0
    assert found.limits.gflops > 1 and found.limits.gigabytes_per_second > 0.1


def test_the_command(capsys):
    assert main(["profile", *SETTINGS, "--steps", "1"]) == 0
    out = capsys.readouterr().out
    assert "linear" in out and "this machine at its best" in out and "Python's share" in out
    assert main(["profile", *SETTINGS, "--steps", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"rows", "step", "python", "tokens", "limits"} == set(found)
    assert {"op", "direction", "calls", "seconds", "flops", "bytes"} == set(found["rows"][0])


def test_mistakes(capsys):
    assert "--steps 0" in refuse(capsys, 2, "profile", "--steps", "0")
    assert "did you mean 'char-cpu'" in refuse(capsys, 2, "profile", "--preset", "char-cpi")
    assert "did you mean 'n_layer'" in refuse(capsys, 2, "profile", "--set", "n_layers=3")

"""The replay tells the real backward pass: order, formulas, what was saved, who contributed."""

import re

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.explain.replay import render, replay
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.twins import reference


def leaf(*values):
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_a_small_pass_by_hand():
    """loss = (a + a) b with a = 2, b = 3: b gets 4, each of the two arrows from add brings a 3."""
    a, b = leaf(2.0), leaf(3.0)
    steps = replay(((a + a) * b).sum(), [("a", a), ("b", b)])
    assert [(s.number, s.op) for s in steps] == [(3, "sum"), (2, "multiply"), (1, "add")]
    assert [(f.target, f.norm) for f in steps[1].passed] == [("#1 add", 3.0), ("b", 4.0)]
    assert [(f.source, f.name, f.norm) for f in steps[2].received] == [("#2 multiply", "da", 3.0)]
    assert [f.target for f in steps[2].passed] == ["a", "a"]
    assert a.grad.tolist() == [6] and b.grad.tolist() == [4]


def test_an_accumulating_value_names_all_who_contributed():
    x = leaf(1.0, 2.0)
    h = x * 3
    steps = replay((h.exp() + h * h).sum())
    received = {s.op + str(s.number): [f.source for f in s.received] for s in steps}
    assert received["multiply1"] == ["#3 multiply", "#3 multiply", "#2 exp"]
    together = next(s for s in steps if s.number == 1)
    assert together.dy_norm == pytest.approx(np.linalg.norm(np.exp(h.data) + 2 * h.data), rel=1e-6)


def test_each_step_names_its_file_line_formula_and_what_it_saved():
    x = leaf(1.0, 2.0, 3.0)
    with reference():
        (step,) = replay(F.softmax(x), gradient=np.ones(3))
    assert re.fullmatch(r"tinygrad_llm/ops/normalize.py:\d+", step.place)
    assert step.formula == "y_i = exp x_i / sum_j exp x_j;   dx_i = y_i (dy_i - sum_j y_j dy_j)."
    assert step.saved == {"axis": "-1", "y": "float32 (3,)"} and step.shapes == [(3,)]


def test_formulas_that_go_on_after_a_colon_are_whole():
    x, w = Tensor(np.ones((2, 3)), True), Tensor(np.ones(3), True)
    steps = replay(F.layer_norm(x, w, w).sum(), [("x", x), ("w", w)])
    assert steps[1].formula.endswith("dw = sum of dy n,  db = sum of dy over the rows.")
    assert "eps" not in steps[1].saved and steps[1].saved["n"] == "float64 (2, 3)"


def test_kernels_are_told_apart_and_their_saved_arrays_shown():
    rng = np.random.default_rng(0)
    x, w = (Tensor(rng.standard_normal(s).astype(np.float32), True) for s in ((2, 3), (4, 3)))
    step = replay(F.linear(x, w).sum())[1]
    assert step.place.startswith("tinygrad_llm/ops/")
    assert step.ran.startswith("tinygrad_llm/kernels/")
    assert "float32 (4, 3)" in step.saved.values()
    assert f"compiled in {step.ran}" in render([step])


def test_the_replay_is_the_pass_itself():
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    replay(loss, retain_graph=True)
    replay(loss)
    assert x.grad.tolist() == [4, 8]
    with pytest.raises(ValueError, match="backward freed the history of this sum"):
        replay(loss)
    with pytest.raises(ValueError, match="no history"):
        replay(x)


def test_outputs_of_a_split_are_named_by_their_index():
    x = leaf(1.0, 2.0, 3.0)
    first, last = x.split([1, 2])
    steps = replay((first * last).sum())
    assert [f.target for f in steps[1].passed] == ["#1 split[0]", "#1 split[1]"]
    assert [f.shape for f in steps[2].received] == [(1,), (2,)]


def test_the_text_holds_every_step_and_the_leaves():
    w, x = leaf(1.0, 2.0), Tensor(np.ones(2, np.float32))
    text = render(replay((w * x + w).tanh().sum(), [("layer.weight", w)]))
    assert text.count("\n#") == 4 and "|" not in text
    assert "received  dy (), norm 1: dy of the start (norm 1)" in text
    last = text.splitlines()[-1]
    assert last.startswith("   layer.weight (2,): db of #2 add (norm ")
    assert "+ da of #1 multiply" in last


def test_a_gpt_is_replayed_to_the_last_weight():
    from tinygrad_llm.models import GPT, GPTConfig

    rng = np.random.default_rng(0)
    model = GPT(GPTConfig(vocab_size=11, n_positions=8, n_layer=2, n_head=2, n_embd=8), rng=rng)
    loss = F.cross_entropy(model(rng.integers(11, size=(2, 8))), rng.integers(11, size=(2, 8)))
    text = render(replay(loss, model.named_parameters()))
    assert all(f"   {name} (" in text for name, _ in model.named_parameters())
    tied = next(line for line in text.splitlines() if line.startswith("   wte.weight (11, 8): "))
    assert "linear" in tied and "embedding" in tied

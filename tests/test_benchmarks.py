"""The benchmarks measure what they say: turns, ratios, checks before timing, processes, tables."""

import json
import os
import time

import numpy as np
import pytest

from benchmarks import (
    attention,
    curves,
    inference,
    machine,
    matmul,
    report,
    startup,
    tables,
    tokenizers,
    training,
    translation,
)
from benchmarks.peer import Peer, environment
from benchmarks.peers import OURS, PEERS, products
from benchmarks.turns import PAUSE, Ratio, compare, phase, take_turns
from benchmarks.workloads import WORKLOADS, Workload
from tinygrad_llm.models.gpt import GPTConfig

COUNTER = "tests.test_benchmarks:Counter"
needs_torch = pytest.mark.skipif(
    machine.version("torch") == "not installed", reason="pip install torch: it is the peer"
)


class Counter:
    """A contender for the protocol alone, made in a process of its own."""

    def __init__(self, start):
        self.value = start

    def count(self, step):
        print("a library that talks")
        self.value += step
        return [self.value, machine.cores()]


def test_turns_alternate_with_pauses():
    order, start = [], time.perf_counter()
    contenders = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    assert take_turns(contenders, 3) == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert order == list("abbaab") and time.perf_counter() - start >= 6 * PAUSE


def test_a_phase_lasts_and_a_ratio_is_by_turns():
    calls = []
    assert 0.004 < phase(lambda: calls.append(time.sleep(0.005)), 0.02) < 0.02
    assert len(calls) >= 3
    assert compare([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == Ratio(2.0, 1.0, 3.0)


@pytest.mark.parametrize("library", ["Ours", "NumPy", "PyTorch", "JAX"])
def test_the_products_are_the_three_of_a_layer(library):
    needed = {"PyTorch": "torch", "JAX": "jax"}.get(library, "numpy")
    pytest.importorskip(needed, reason=f"pip install {needed}: it is the peer")
    contender = getattr(products, library)()
    contender.take((3, 4, 5))
    assert [tuple(work().shape) for work in contender.forms] == [(3, 5), (3, 4), (5, 4)]
    assert contender.phase(2, 0.001) > 0


def test_a_wrong_product_is_not_timed():
    y = np.ones((2, 2), np.float32)
    products.check(y, y, "right")
    for wrong in (y * 1.001, y * np.nan):
        with pytest.raises(ArithmeticError, match="differ"):
            products.check(wrong, y, "wrong")


def test_matmul_rows(capsys):
    options = ["--quick", "--turns", "1", "--threads", "1", "--peers", "numpy"]
    matmul.main([*options, "--json"])
    *rows, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 6 and {row["form"] for row in rows} == set(products.FORMS)
    ratios = [row["ratio"] for row in rows]
    assert summary["minimum"] == min(ratios) and summary["threads"] == 1
    assert summary["geometric_mean"] == pytest.approx(np.exp(np.log(ratios).mean()))
    assert all(r["ratio"] == pytest.approx(r["gflops"] / r["peer_gflops"]) for r in rows)
    table = tables.matmul([*rows, summary, *({**row, "peer": "pytorch"} for row in rows)])
    assert "geometric mean" in table and table.count("| y = x W^T |") == 2
    assert "ours over numpy | pytorch | ours over pytorch" in table
    with pytest.raises(SystemExit) as leaving:
        matmul.main(["--threads", "1000"])
    assert leaving.value.code == 2 and "1000" in capsys.readouterr().err


def test_a_peer_does_not_inherit_what_our_kernels_set_for_themselves(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")
    assert environment().items() == os.environ.items() - {("GOMP_SPINCOUNT", "10000")}


def test_a_peer_obeys_in_its_own_process():
    with Peer(COUNTER, threads=1, start=5) as peer:
        assert peer.call("count", step=2) == [7, 1]
        assert peer.call("count", step=1)[0] == 8
        with pytest.raises(RuntimeError, match="TypeError"):
            peer.call("count", step="x")
        peer.process.kill()
        with pytest.raises(RuntimeError, match="ended with code"):
            peer.call("count", step=1)


def test_workloads_survive_json_and_can_be_learned():
    work = WORKLOADS["char-cpu"]
    assert Workload.of(**json.loads(json.dumps(work.settings()))) == work
    inputs, targets = next(work.batches())
    assert inputs.shape == targets.shape == (12, 64) and work.tokens == 768
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    steps = (targets - inputs) % 65
    assert (steps == steps[:, :1]).all()


@needs_torch
def test_training_beside_pytorch(capsys):
    training.main(
        ["--workloads", "tiny", "--peers", "pytorch", "--turns", "1", "--json"]
        + ["--seconds", "0.01", "--threads", "1"]
    )
    rows = ours, theirs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["peer"] for row in rows] == [OURS, "pytorch"]
    assert ours["ratio"] == 1
    assert theirs["ratio"] == pytest.approx(theirs["step_ms"] / ours["step_ms"])
    assert ours["first_losses"] == pytest.approx(theirs["first_losses"], abs=1e-4)
    assert 10 < ours["peak_rss_mb"] < 2000 and 0 < ours["floor"] < 1
    keys = {"workload", "peer", "step_ms", "tokens_per_s", "peak_rss_mb", "ratio"}
    assert all(keys <= row.keys() for row in rows)


def test_the_best_of_pytorch_is_the_faster_one_of_each_turn():
    work = WORKLOADS["tiny"]
    times = {OURS: [1.0, 2.0, 1.0], "pytorch": [2.0, 3.0, 9.0], "torch.compile": [4.0, 2.0, 3.0]}
    facts = {peer: {"peak_rss_mb": 5.0, "warm_up_s": 1.0} for peer in times}
    facts["torch.compile"]["peak_rss_mb"] = 4.0
    product = {training.PRODUCT: [0.03, 0.01, 0.02]}
    *_, best = rows = training.results(work, times | product, facts)
    assert [row["peer"] for row in rows] == [*times, training.BEST]
    assert (best["step_ms"], best["ratio"], best["spread"]) == (2000, 2.0, [1.0, 3.0])
    assert (best["peak_rss_mb"], best["tokens_per_s"]) == (4.0, 8.0)
    floor = training.floor_seconds(work, 0.01)
    assert [row["floor"] for row in rows] == [floor / 1.0, floor / 3.0, floor / 3.0, floor / 2.0]
    del facts["torch.compile"]
    assert len(training.results(work, times | product, facts)) == 2  # nothing to choose from


def test_the_floor_is_six_operations_a_parameter_and_token():
    second = 0.01  # of 10^9 operations: 100 GFLOP/s
    seconds = training.floor_seconds(WORKLOADS["char-cpu"], second)
    assert seconds == pytest.approx(6 * 804096 * 768 / 100e9)


def test_a_peer_that_is_ahead_is_named():
    row = {"workload": "tiny", "step_ms": 1.0, "tokens_per_s": 1.0, "peak_rss_mb": 1.0}
    row |= {"spread": [0.9, 1.1], "floor": 0.5, "warm_up_s": 1.0}
    rows = [row | {"peer": OURS, "ratio": 1.0}, row | {"peer": "jax", "ratio": 2.0}]
    assert "Ahead of us: nobody." in tables.training(rows)
    text = tables.training([*rows, row | {"peer": "pytorch", "ratio": 0.98}])
    assert "Ahead of us: pytorch on tiny." in text
    assert [line for line in text.splitlines() if "(**ahead of us**)" in line] == [
        "| tiny | pytorch (**ahead of us**) | 1.0 | 1 | 0.50 | 0.98 | 0.90-1.10 | 1 | 1.00 | 1.0 |"
    ]


def test_unequal_losses_are_not_timed():
    training.check([2.0, 1.0], [2.0, 1.0005], "close")
    for losses in ([2.0, 1.01], [2.0, float("nan")]):
        with pytest.raises(ArithmeticError, match="nothing is timed"):
            training.check(losses, [2.0, 1.0], "far")


def test_a_peer_that_does_not_run_is_left_out(capsys, monkeypatch):
    monkeypatch.setitem(PEERS, "jax", ("json", "benchmarks.peers.nowhere:None"))
    rows = list(training.measure("tiny", ["jax"], turns=1, seconds=0.01))
    assert [row["peer"] for row in rows] == ["tinygrad_llm"]
    assert "jax is left out" in capsys.readouterr().err


@needs_torch
def test_attention_beside_pytorch():
    ours, theirs = attention.measure((1, 2, 64, 16), turns=1, seconds=0.01, threads=1)
    assert ours["time_ratio"] == 1
    assert theirs["time_ratio"] == pytest.approx(ours["ms"] / theirs["ms"])
    with pytest.raises(ArithmeticError):
        attention.check([[1.0, 2.0]], [[1.0, 2.1]], "wrong")


def curve_rows(peer, *points):
    row = {"curve": "context", "label": "context", "peer": peer, "peak_rss_mb": 1}
    return [
        row | {"x": x, "us_per_token": us[1], "us_by_turn": us, "flops_6": 6 * x, "flops_7": x**2}
        for x, us in points
    ]


def test_growth_is_by_turns_and_beside_both_counts_of_the_arithmetic():
    rows = curve_rows(OURS, (10, [2.0, 2.0, 4.0]), (20, [4.0, 6.0, 8.0]))
    rows += curve_rows("pytorch", (10, [1.0, 1.0, 1.0]), (20, [4.0, 5.0, 6.0]))
    found = curves.growth(rows)
    assert found["growth"] == {OURS: 2.0, "pytorch": 5.0}
    assert found["spread"] == {OURS: [2.0, 3.0], "pytorch": [4.0, 6.0]}
    assert found["arithmetic"] == {"6": 2.0, "7": 4.0}
    assert found["ours_over_arithmetic"] == {"6": 1.0, "7": 0.5}
    text = tables.curves([*rows, found])
    assert "results/context.png" in text and "arithmetic: 1.00 or 0.50." in text


def test_the_arithmetic_is_what_causal_attention_has_to_do():
    model = GPTConfig(vocab_size=5, n_positions=3, n_layer=2, n_head=1, n_embd=4)
    parameters = 2 * 12 * 4 * 4 + 5 * 4
    scores = (1 + 2 + 3) / 3  # of one token, on average
    for products_ in (6, 7):
        attention_ = 2 * products_ * 2 * 4 * scores  # layers, products, two operations, width
        assert curves.arithmetic(model, products_) == 6 * parameters + attention_


def test_curves_are_measured_in_turns_and_drawn(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install matplotlib: it draws")
    monkeypatch.setattr(curves, "installed", lambda: [])
    out = ["--out", str(tmp_path), "--json"]
    curves.main(["--quick", "--only", "batch", "--turns", "2", *out])
    *rows, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["x"] for row in rows} == {1, 2} and last == curves.growth(rows)
    for row in rows:
        assert row["us_per_token"] == pytest.approx(np.mean(row["us_by_turn"]))
    assert (tmp_path / "batch.png").read_bytes().startswith(b"\x89PNG")
    assert set(curves.curves()) == set(curves.curves(quick=True)) == set(curves.IDEALS)
    contexts = curves.curves()["context"].points
    assert list(contexts)[0] == 64 and list(contexts)[-1] == 4096
    assert {work.tokens for work, _ in contexts.values()} == {4096}


def test_the_report_keeps_what_was_measured_before(tmp_path, monkeypatch):
    gelu = {"op": "gelu", "numpy": 30.0, "kernel": 10.0, "pytorch": 20.0}
    ops = [gelu, {"op": "add", "numpy": 5}]
    starts = [{"command": "bench", "cache": "cold", "message_s": 0.25}]
    monkeypatch.setitem(report.MEASURE, "ops", lambda quick: ops)
    monkeypatch.setitem(report.MEASURE, "startup", lambda quick: starts)
    monkeypatch.setattr(machine, "describe", lambda: {"processor": "the first"})
    report.write(["startup"], tmp_path, quick=False)
    monkeypatch.setattr(machine, "describe", lambda: {"processor": "the second"})
    _, startup_, ops_ = report.write(["ops"], tmp_path, quick=True).read_text().split("\n## ")
    assert "| bench | empty | 0.25 |  |" in startup_
    assert "| gelu | 30 | 10 | 20 | 3.0 | 2.0 |" in ops_ and "| add | 5 |  |  |  |  |" in ops_
    assert "the first" in startup_ and "the second" not in startup_ and "quick" not in startup_
    assert "the second" in ops_ and "mean nothing" in ops_
    assert set(report.MEASURE) == set(report.COMMANDS) == set(tables.RENDER)


def test_a_report_that_is_killed_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    done = []

    def section(name, fails=False):
        def rows(quick):
            done.append(name)
            yield {"op": name, "numpy": 1.0}
            if fails:
                raise KeyboardInterrupt

        monkeypatch.setitem(report.MEASURE, name, rows)
        monkeypatch.setitem(tables.RENDER, name, (name, tables.ops))

    for name in report.MEASURE:
        section(name, fails=name == "curves")
    with pytest.raises(KeyboardInterrupt):
        report.main(["--out", str(tmp_path)])
    assert done == ["training", "matmul", "attention", "curves"]
    assert "## attention" in (tmp_path / "RESULTS.md").read_text()
    monkeypatch.setattr(curves, "draw", lambda rows, folder: None)
    section("curves")
    done.clear()
    report.main(["--out", str(tmp_path), "--resume"])
    assert done == list(report.MEASURE)[3:]
    assert "## curves" in (tmp_path / "RESULTS.md").read_text()
    assert report.missing(tmp_path / "results") == []


def test_startup_waits_for_what_a_command_shows(tmp_path):
    found = startup.wait("bench matmul", tmp_path / "cache", "bench")
    assert found.keys() == {"message_s"} and 0.01 < found["message_s"] < 60
    with pytest.raises(RuntimeError, match="ended before.*step_s.*nowhere"):
        startup.wait("generate nowhere --prompt x", tmp_path / "cache", "pretrain")
    assert startup.STEP.search(b"\rtraining:   0%|   | 1/2000 [00:00<?, ?step/s, loss 4.2]")
    assert not startup.STEP.search(b"\rtraining:   0%|   | 0/2000 [00:00<?, ?step/s]")


def test_tokenizers_are_compared_only_where_they_agree(capsys):
    tokenizers.main(["--quick", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["work"] for row in rows} == {"encode", "encode_batch", "train 512"}
    assert all(row["ratio"] > 0 and row["mb_per_s"] > 0 for row in rows)
    assert [row["ratio"] for row in rows if row["peer"] == tokenizers.OURS] == [1.0] * 3
    contenders = {tokenizers.OURS: lambda: [1], "another": lambda: [2]}
    with pytest.raises(ArithmeticError, match="another gives something else"):
        next(tokenizers.contest("encode", "text", contenders, 1, 0.01))


@needs_torch
def test_translation_is_checked_and_timed(capsys):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 40}
    rows = list(translation.measure((), steps=1, turns=1, batch_tokens=100, threads=1, **sizes))
    assert [row["peer"] for row in rows] == list(translation.CONTENDERS)
    assert rows[0]["ratio"] == 1 and all(row["target_tokens_per_s"] > 0 for row in rows)
    assert "target tokens/s" in translation.line(rows[1])
    losses = {"data": [], "batch_tokens": 100, "changes": sizes}
    translation.check(losses, 1)
    translation.TOLERANCE, tolerance = -1, translation.TOLERANCE
    with pytest.raises(ArithmeticError, match="differ from ours"):
        translation.check(losses, 1)
    translation.TOLERANCE = tolerance


def test_inference_compares_logits_then_times_and_counts_the_cache(capsys):
    inference.main(["--quick", "--json", "--turns", "1"])
    rows = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert "tiny decode 8" in tables.inference(rows) and "measured" in tables.inference(rows)
    *rows, cache = rows
    assert {row["workload"] for row in rows} == {"tiny decode 8", "tiny prefill 70"}
    assert all(row["tokens_per_s"] > 0 and row["ratio"] > 0 for row in rows)
    assert cache["computed_mb"] == cache["measured_mb"] > 0
    with pytest.raises(ArithmeticError, match="nothing is timed"):
        inference.check(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]), 0.1, "wrong")

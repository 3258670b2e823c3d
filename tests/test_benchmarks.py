"""The benchmarks measure what they say: turns, ratios, checks before timing, processes, tables."""

import json
import time

import numpy as np
import pytest

from benchmarks import attention, curves, inference, machine, matmul, report, tables, tokenizers
from benchmarks import training
from benchmarks.peer import Peer
from benchmarks.peers import PEERS
from benchmarks.turns import PAUSE, Ratio, compare, phase, take_turns
from benchmarks.workloads import WORKLOADS, Workload

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


def test_the_products_are_the_three_of_a_layer():
    forms = matmul.products((3, 4, 5))
    assert [work().shape for work, _ in forms] == [(3, 5), (3, 4), (5, 4)]
    for ours, numpys in forms:
        matmul.check(ours(), numpys(), "a form")


def test_a_wrong_product_is_not_timed():
    y = np.ones((2, 2), np.float32)
    for wrong in (y * 1.001, y * np.nan):
        with pytest.raises(ArithmeticError, match="differ"):
            matmul.check(wrong, y, "wrong")


def test_matmul_rows(capsys):
    matmul.main(["--quick", "--json", "--turns", "1", "--threads", "1"])
    *rows, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 6 and {row["form"] for row in rows} == set(matmul.FORMS)
    ratios = [row["ratio"] for row in rows]
    assert summary["minimum"] == min(ratios) and summary["threads"] == 1
    assert summary["geometric_mean"] == pytest.approx(np.exp(np.log(ratios).mean()))
    with pytest.raises(SystemExit) as leaving:
        matmul.main(["--threads", "1000"])
    assert leaving.value.code == 2 and "1000" in capsys.readouterr().err


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
    ours, theirs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (ours["peer"], theirs["peer"]) == ("tinygrad_llm", "pytorch")
    assert ours["ratio"] == 1
    assert theirs["ratio"] == pytest.approx(theirs["step_ms"] / ours["step_ms"])
    assert ours["first_losses"] == pytest.approx(theirs["first_losses"], abs=1e-4)
    assert 10 < ours["peak_rss_mb"] < 2000 and ours["tokens_per_s"] > 0
    assert {"workload", "peer", "step_ms", "tokens_per_s", "peak_rss_mb", "ratio"} <= set(ours)


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


def test_curves_are_drawn_and_measured_against_the_arithmetic(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install matplotlib: it draws")
    row = {"curve": "context", "label": "context", "peer": "tinygrad_llm", "peak_rss_mb": 1}
    rows = [
        {**row, "x": 64, "us_per_token": 2.0, "flops_per_token": 10},
        {**row, "x": 128, "us_per_token": 3.0, "flops_per_token": 20},
    ]
    assert curves.growth(rows, "context") == (1.5, 2.0)
    (path,) = curves.draw(rows, tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert set(curves.curves()) == set(curves.curves(quick=True)) == set(curves.IDEALS)
    contexts = curves.curves()["context"].points
    assert list(contexts)[0] == 64 and list(contexts)[-1] == 4096
    assert {work.tokens for work, _ in contexts.values()} == {4096}


def test_the_report_keeps_what_was_measured_before(tmp_path, monkeypatch):
    ops = [{"op": "gelu", "numpy": 30.0, "kernel": 10.0}, {"op": "add", "numpy": 5.0}]
    monkeypatch.setitem(report.MEASURE, "ops", lambda quick: ops)
    monkeypatch.setitem(
        report.MEASURE, "matmul", lambda quick: matmul.measure((1,), 1, 0.001, [(8, 9, 10)])
    )
    report.write(["matmul"], tmp_path, quick=False)
    text = report.write(["ops"], tmp_path, quick=True).read_text()
    assert "geometric mean" in text and "(8, 9, 10)" in text
    assert "| gelu | 30 | 10 | 3.0 |" in text and "| add | 5 |  |  |" in text
    assert text.count("mean nothing") == 1 and machine.processor() in text
    assert set(report.MEASURE) == set(report.COMMANDS) == set(tables.RENDER)


def test_the_floor_is_six_operations_a_parameter_and_token():
    row = report.floor("char-cpu", {"step_ms": 50.0}, gflops=100.0)
    assert row["step_ms"] == pytest.approx(1e3 * 6 * 804096 * 768 / 100e9)
    assert row["ratio"] == row["step_ms"] / 50.0


def test_tokenizers_are_compared_only_where_they_agree(capsys):
    tokenizers.main(["--quick", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["work"] for row in rows} == {"encode", "encode_batch", "train 512"}
    assert all(row["ratio"] > 0 and row["mb_per_s"] > 0 for row in rows)
    assert [row["ratio"] for row in rows if row["peer"] == tokenizers.OURS] == [1.0] * 3
    contenders = {tokenizers.OURS: lambda: [1], "another": lambda: [2]}
    with pytest.raises(ArithmeticError, match="another gives something else"):
        next(tokenizers.contest("encode", "text", contenders, 1, 0.01))


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

"""The three versions of the product are one product, and the command shows their speeds."""

import json

import numpy as np
import pytest

from tests.test_cli import refuse
from tinygrad_llm.cli.main import main
from tinygrad_llm.recipes import bench


def test_loops_by_hand():
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])
    assert bench.loops(a, b).tolist() == [[19, 22], [43, 50]]  # 1*5 + 2*7 = 19


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (17, 33, 6), (40, 1, 9)])
def test_the_versions_are_equal(shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in ((m, k), (k, n)))
    bench.check_equal({name: version(a, b) for name, version in bench.VERSIONS.items()}, shape)


def test_a_wrong_version_is_not_timed(monkeypatch):
    monkeypatch.setitem(bench.VERSIONS, "tile", lambda a, b: a @ b * 1.001)
    with pytest.raises(ArithmeticError, match="tile at"):
        next(bench.compare_products([(8, 8, 8)]))


def test_loops_stop_where_they_would_take_long(monkeypatch):
    monkeypatch.setattr(bench, "MOST_FOR_LOOPS", 8 * 8 * 8)
    monkeypatch.setattr(bench, "PHASE", 0.001)
    speeds = list(bench.compare_products([(8, 8, 8), (8, 8, 9)]))
    assert [s.version for s in speeds] == ["loops", "numpy", "tile", "numpy", "tile"]
    assert all(s.gflops > 0 for s in speeds)
    assert speeds[0].gflops < speeds[1].gflops  # NumPy is faster than Python, even at this size


def test_the_command(capsys, monkeypatch):
    monkeypatch.setattr(bench, "PHASE", 0.001)
    assert main(["bench", "matmul", "--shape", "4", "5", "6", "--shape", "99", "98", "97"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["GFLOP/s", "loops", "numpy", "tile"]
    assert lines[1].startswith("4 x 5 x 6") and lines[2].split()[5] == "-"
    assert main(["bench", "matmul", "--shape", "4", "5", "6", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["version"] for row in rows] == list(bench.VERSIONS)
    assert rows[0]["shape"] == [4, 5, 6]


def test_mistakes(capsys):
    assert "matmul" in refuse(capsys, 2, "bench", "softmax")
    assert "--threads 0" in refuse(capsys, 2, "bench", "matmul", "--threads", "0")
    assert "(0, 5, 6)" in refuse(capsys, 2, "bench", "matmul", "--shape", "0", "5", "6", "--json")

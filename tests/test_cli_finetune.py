"""finetune classify and classify on the command line: what they print; one line for a mistake."""

import json

import pytest

from tests.test_cli import refuse
from tests.test_finetune_classify import base, settings  # noqa: F401 (fixtures)
from tests.test_sources import give_stdin
from tinygrad_llm.cli.main import main


@pytest.fixture
def command(settings, tmp_path):  # noqa: F811
    tuning = settings.tuning
    flags = ["--data", tuning.data, "--out", str(tmp_path / "run"), "--lr", "0.01"]
    return ["finetune", "classify", tuning.base, *flags, "--set", "batch_size=8"]


def test_a_run_and_its_use(command, tmp_path, capsys, monkeypatch):
    assert main([*command, "--epochs", "4", "--freeze", "1"]) == 0
    out = capsys.readouterr().out
    assert "16 test texts" in out and "recall" in out and "precision" in out
    assert "bag of words" in out and "always one label" in out
    assert "trained; " in out and "ms a step, about" in out and "the frozen part reads" in out
    folder = str(tmp_path / "run")
    assert main(["classify", folder, "555 777 99"]) == 0
    label, first, second = capsys.readouterr().out.strip().split("\t")
    assert label == "digits" and first.startswith("digits 0.9") and second.startswith("letters 0.0")
    give_stdin(monkeypatch, "abc\u2028def\n\n1234567\r\n".encode())
    assert main(["classify", folder, "-", "--lines", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in rows] == ["letters", "digits"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    assert main([*command, "--resume", "--freeze", "1", "--epochs", "5"]) == 0
    assert "step 35: held-out loss" in capsys.readouterr().out


def test_mistakes_are_one_line(command, tmp_path, capsys, base):  # noqa: F811
    assert "--text-column" in refuse(capsys, 2, *command, "--text-column", "body")
    assert "or all" in refuse(capsys, 2, *command, "--freeze", "-1")
    assert "the model has 2" in refuse(capsys, 2, *command, "--freeze", "9")
    assert "did you mean 'patience'" in refuse(capsys, 2, *command, "--set", "patienc=1")
    assert "patience is -1" in refuse(capsys, 2, *command, "--patience", "-1")
    (tmp_path / "bad.jsonl").write_text('{"text": "a", "label": "b"}\n{')
    bad = ["finetune", "classify", base, "--data", tmp_path / "bad.jsonl"]
    assert "bad.jsonl, line 2" in refuse(capsys, 2, *bad, "--out", tmp_path / "run")
    assert "without a head that scores labels" in refuse(capsys, 2, "classify", base, "text")
    assert "cannot read" in refuse(capsys, 2, "classify", tmp_path / "none", "text")
    main([*command, "--epochs", "1"])
    capsys.readouterr()
    assert "text 1 is empty" in refuse(capsys, 2, "classify", tmp_path / "run", " ")
    assert "--resume" in refuse(capsys, 2, *command)
    resumed = refuse(capsys, 2, *command, "--epochs", "1", "--resume", "--freeze", "1")
    assert "cannot change freeze from 0 to 1" in resumed

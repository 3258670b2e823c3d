"""Fine-tuning and classify on the command line: what they print; one line for a mistake."""

import json
import os
import signal

import numpy as np
import pytest

from tests.test_cli import refuse
from tests.test_encode import TOKENIZER, model_of
from tests.test_encoder_decoder import SMALL as ENCODER_DECODER
from tests.test_finetune_classify import base, settings  # noqa: F401 (fixtures)
from tests.test_sources import give_stdin
from tinygrad_llm.cli.main import main
from tinygrad_llm.cli.terminal import TerminalReporter
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.models.bert import Bert
from tinygrad_llm.models.encoder_decoder import EncoderDecoder


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


def test_a_signal_is_answered_with_its_code_and_the_way_on(command, tmp_path, capsys, monkeypatch):
    def stop(self, report):
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(TerminalReporter, "stepped", stop)
        assert main([*command, "--epochs", "1"]) == 128 + signal.SIGTERM
    assert "the same command with --resume goes on" in capsys.readouterr().out
    assert main([*command, "--epochs", "1", "--resume"]) == 0
    assert "16 test texts, best weights of step 7" in capsys.readouterr().out


MANY = "text,label\n" + "".join(f"text {i},label {i}\n" for i in range(10))


@pytest.mark.parametrize(
    "name,content,place,remedy",
    [
        ("a.csv", "words,label\nhi,ham\n", "it has words, label", "one with --text-column"),
        ("a.csv", "text,label\nhi,ham\nho,ham\n", "a.csv: all 2 examples", "needs examples of two"),
        ("a.csv", "text,label\nhi,ham\n ,spam\n", "line 3: 'text' is empty", "fill it in or"),
        ("a.csv", MANY, "is in the validation part but", "give more examples of it"),
        ("a.csv", 'text,label\n"hi,ham\n', "line 2 is not CSV", "mend it there"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text"', "line 2 is not valid JSON", "mend the"),
        ("a.jsonl", '[{"text": "a", "label": "b"}]', "line 1 is no JSON object", "write each"),
    ],
)
def test_a_mistake_in_the_examples_is_one_line(
    base, tmp_path, capsys, name, content, place, remedy  # noqa: F811
):
    (tmp_path / name).write_text(content)
    flags = ["--data", tmp_path / name, "--out", tmp_path / "run", "--balance", "none"]
    line = refuse(capsys, 2, "finetune", "classify", base, *flags)
    assert place in line and remedy in line.partition(place)[2], line
    assert not (tmp_path / "run" / "settings.toml").exists()


@pytest.mark.parametrize("task,field", [("instruct", "output"), ("prefer", "chosen")])
def test_a_base_that_does_not_write_is_one_line(tmp_path, capsys, task, field):
    save_model(tmp_path / "bert", model_of(Bert))
    TOKENIZER.save(tmp_path / "bert")
    rows = [{"instruction": "a", "rejected": "c", field: "b"} for _ in range(10)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    flags = ["--data", tmp_path / "a.json", "--out", tmp_path / "run"]
    line = refuse(capsys, 2, "finetune", task, tmp_path / "bert", *flags)
    assert "holds a Bert, which cannot write an answer; name the folder of a GPT" in line


def test_a_base_that_does_not_become_a_classifier_is_one_line(tmp_path, capsys):
    both = EncoderDecoder(ENCODER_DECODER, rng=np.random.default_rng(0))
    save_model(tmp_path / "both", both)
    TOKENIZER.save(tmp_path / "both")
    (tmp_path / "a.csv").write_text("text,label\n" + "fox,x\ndog,y\n" * 20)
    flags = ["--data", tmp_path / "a.csv", "--out", tmp_path / "run"]
    line = refuse(capsys, 2, "finetune", "classify", tmp_path / "both", *flags)
    assert "a EncoderDecoder cannot become a classifier; take a GPT" in line

"""The command line: every mistake is one line on stderr that says what to do, with its exit code,
and nothing lost.
"""

import errno
import json
import os
import subprocess
import sys

import pytest

from tinygrad_llm.cli import main as command
from tinygrad_llm.cli.main import COMMANDS, build_parser, main
from tests.test_pretrain import TINY
from tests.test_sources import give_stdin

SETTINGS = [f"--set={key}={value}" for key, value in {**TINY, "sample_every": 0}.items()]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    assert (
        main(
            [
                "pretrain",
                "--data",
                str(folder / "text.txt"),
                "--out",
                str(folder / "run"),
                *SETTINGS,
            ]
        )
        == 0
    )
    return folder / "run"


def refuse(capsys, code, *argv):
    """Run the command, expect this exit code and one line on stderr, and return the line."""
    try:
        found = main([str(a) for a in argv])
    except SystemExit as leaving:
        found = leaving.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert found == code and len(lines) == 1 and "Traceback" not in lines[0], (found, lines)
    return lines[0]


def pretrain(capsys, code, tmp_path, *argv):
    return refuse(capsys, code, "pretrain", "--out", tmp_path / "run", *SETTINGS, *argv)


def test_missing_empty_and_binary_text(capsys, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"abc\x00\xff")
    assert "missing.txt" in pretrain(capsys, 2, tmp_path, "--data", tmp_path / "missing.txt")
    assert "no text" in refuse(
        capsys, 2, "pretrain", "--out", tmp_path / "b", "--data", tmp_path / "empty.txt"
    )
    line = refuse(capsys, 2, "pretrain", "--out", tmp_path / "c", "--data", tmp_path / "binary.txt")
    assert "binary.txt" in line and "byte 3" in line.replace("offset", "byte")


def test_a_corpus_shorter_than_a_context(capsys, tmp_path):
    (tmp_path / "short.txt").write_text("only a few words")
    line = pretrain(capsys, 2, tmp_path, "--data", tmp_path / "short.txt")
    assert "context" in line and "17" in line


def test_unknown_names(capsys, tmp_path, text):
    assert "did you mean 'char-cpu'" in pretrain(capsys, 2, tmp_path, "--preset", "char-cpi")
    assert "did you mean 'n_layer'" in pretrain(capsys, 2, tmp_path, "--set", "n_layers=3")
    assert "not of type int" in pretrain(capsys, 2, tmp_path, "--set", "n_layer=three")
    assert "neither bpe" in pretrain(capsys, 2, tmp_path, "--data", text, "--set", "tokenizer=none")
    assert "--help" in refuse(capsys, 2, "pretrian")


@pytest.mark.parametrize("assignment", ["accumulation=0", "batch_size=0", "lr=nan", "steps=0"])
def test_values_that_no_run_can_have(capsys, tmp_path, text, assignment):
    line = pretrain(capsys, 2, tmp_path, "--data", text, "--set", assignment)
    assert assignment.partition("=")[0] in line
    assert assignment.partition("=")[0] in refuse(capsys, 2, "profile", "--set", assignment)


def test_a_model_larger_than_the_machine(capsys, tmp_path, text):
    line = pretrain(capsys, 2, tmp_path, "--data", text, "--set", "n_embd=20000000000")
    assert "GB of memory" in line and "n_embd" in line


def test_seeds_start_at_zero(capsys, tmp_path, text, trained):
    assert "seed is -1" in pretrain(capsys, 2, tmp_path, "--data", text, "--seed", "-1")
    assert "seed -1" in refuse(capsys, 2, "generate", trained, "--prompt", "a", "--seed", "-1")


def test_a_mended_mistake_needs_no_other_folder(capsys, tmp_path, text):
    (tmp_path / "short.txt").write_text("only a few words")
    for argv in (
        ("--data", tmp_path / "missing.txt"),
        ("--data", tmp_path / "short.txt"),  # found when tokens are stored already
        ("--data", text, "--set", "validation=0.0001"),
    ):
        pretrain(capsys, 2, tmp_path, *argv)
    assert not (tmp_path / "run" / "tokens").exists()
    assert main(["pretrain", "--out", str(tmp_path / "run"), *SETTINGS, "--data", str(text)]) == 0


def test_ids_of_nanogpt(capsys, tmp_path, trained):
    import numpy as np

    np.random.default_rng(0).integers(256, size=2000).astype("<u2").tofile(tmp_path / "train.bin")
    argv = ["--data", tmp_path / "train.bin"]
    assert "--set tokenizer=FILE" in pretrain(capsys, 2, tmp_path, *argv, "--set", "tokenizer=bpe")
    argv = ["pretrain", "--out", str(tmp_path / "run"), *SETTINGS, *map(str, argv)]
    assert main([*argv, f"--set=tokenizer={trained}"]) == 0
    assert main([*argv, f"--set=tokenizer={trained}", "--resume", "--steps=25"]) == 0
    (tmp_path / "train.bin").write_bytes(b"\xff" * 4000)
    capsys.readouterr()
    line = refuse(capsys, 2, *argv, f"--set=tokenizer={trained}", "--resume")
    assert "train.bin holds the id 65535" in line


def test_nothing_is_written_before_a_mistake_is_found(capsys, trained):
    for argv in (["--temperature", "-1"], ["--top-p", "2"], ["--max-new-tokens", "0"]):
        assert main(["generate", str(trained), "--prompt", "the ", *argv]) == 2
        assert capsys.readouterr().out == ""


def test_standard_input_is_utf8(capsys, monkeypatch, trained):
    give_stdin(monkeypatch, b"caf\xe9")
    assert "offset 3" in refuse(capsys, 2, "tokenizer", "encode", trained, "-")
    give_stdin(monkeypatch, b"a\r\n")
    assert main(["tokenizer", "encode", str(trained), "-"]) == 0
    assert capsys.readouterr().out == "97 13 10\n"
    give_stdin(monkeypatch, b"97 13 10")
    assert main(["tokenizer", "decode", str(trained), "-"]) == 0
    assert capsys.readouterr().out == "a\r\n\n"
    assert "token id" in refuse(capsys, 2, "tokenizer", "decode", trained, "9" * 5000)


def test_a_terminal_without_the_character_shows_another(trained):
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_llm", "tokenizer", "decode", trained, "195", "169"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert done.stdout.strip() == b"?"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output(trained):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tinygrad_llm", "tokenizer", "encode", trained, "abc"],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert done.returncode == 4 and done.stderr.count(b"\n") == 1


def test_too_little_memory_is_one_line(capsys, monkeypatch, trained):
    def grow(*args, **kwargs):
        raise MemoryError("Unable to allocate 76.3 GiB")

    monkeypatch.setattr("tinygrad_llm.recipes.evaluate.evaluate_folder", grow)
    assert "76.3 GiB" in refuse(capsys, 2, "evaluate", trained, "--data", "text.txt")


def test_a_preset_beside_resume_is_not_ignored_in_silence(capsys, tmp_path, text):
    argv = ["pretrain", "--out", tmp_path / "run", "--data", text, "--resume", *SETTINGS]
    argv = [*map(str, argv), "--preset", "char-cpu", "--set=tokenizer=bytes"]
    for _ in range(2):  # the command that began the run may go on with it
        assert main(argv) == 0
        assert "own settings" not in capsys.readouterr().err
    assert main(["pretrain", "--out", str(tmp_path / "run"), "--resume", "--preset", "baby"]) == 0
    lines = [s for s in capsys.readouterr().err.splitlines() if "own settings" in s]
    assert len(lines) == 1 and "--preset baby: " in lines[0] and "n_embd 16" in lines[0]
    assert "did you mean 'baby'" in refuse(
        capsys, 2, "pretrain", "--out", tmp_path / "run", "--resume", "--preset", "babby"
    )


def test_explain_says_that_it_cuts_a_long_prompt(capsys, tmp_path, trained):
    argv = ["explain", trained, "--out", tmp_path / "out", "--prompt", "a long prompt of 25 bytes"]
    assert main([*map(str, argv)]) == 0
    captured = capsys.readouterr()
    assert "has 25 tokens; only the first 16" in captured.err
    assert "25" not in captured.out.replace(str(tmp_path), "")  # whose number may be any


def test_a_nan_ends_the_bar_before_it_says_so(capsys, tmp_path, text):
    argv = ["pretrain", "--out", str(tmp_path / "run"), "--data", str(text), *SETTINGS]
    assert main([*argv, "--set=lr=1e30", "--set=warmup=0", "--set=eval_every=100"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("tinygrad-llm: error: step") and "born in" in line


def test_heads_that_do_not_divide_the_width(capsys, tmp_path, text):
    line = pretrain(capsys, 2, tmp_path, "--data", text, "--set", "n_head=3")
    assert "n_embd 16 is not divisible by n_head 3" in line and "18" in line
    assert not (tmp_path / "run").exists()


def test_a_config_file_with_an_unknown_key(capsys, tmp_path, text):
    (tmp_path / "settings.toml").write_text("n_layer = 1\nlearning_rate = 1e-3\n")
    assert "settings.toml" in pretrain(capsys, 2, tmp_path, "--config", tmp_path / "settings.toml")


def damaged(trained, tmp_path, name, change):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    path = copy / name
    path.write_bytes(change(path.read_bytes()))
    return copy


@pytest.mark.parametrize(
    "name", ["checkpoint.safetensors", "tokens/tokens-00000.bin", "tokenizer.json"]
)
@pytest.mark.parametrize(
    "change", [lambda b: b[:-9], lambda b: b"\xff" * 8 + b[8:]], ids=["cut", "scrambled"]
)
def test_corrupt_files_of_a_run(capsys, trained, tmp_path, name, change):
    copy = damaged(trained, tmp_path, name, change)
    before = {
        p: p.read_bytes() for p in copy.rglob("*") if p.is_file() and p.name != "settings.toml"
    }
    line = refuse(capsys, 2, "pretrain", "--out", copy, "--resume", "--steps", 30)
    assert name.rpartition("/")[2] in line
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_folder_without_write_permission(capsys, tmp_path, text, monkeypatch):
    def deny(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(
        "tinygrad_llm.recipes.run_folder.write_atomic", deny
    )  # root may write anywhere
    assert "cannot write into" in pretrain(capsys, 2, tmp_path, "--data", text)


def test_a_full_disk_leaves_the_run_as_it_was(capsys, trained, monkeypatch):
    before = (trained / "checkpoint.safetensors").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    line = refuse(capsys, 4, "pretrain", "--out", trained, "--resume", "--steps", 30)
    assert "no space left" in line and "--resume" in line
    assert (trained / "checkpoint.safetensors").read_bytes() == before
    assert not list(trained.glob(".*.tmp"))


def test_evaluate_generate_and_tokenizer(capsys, trained, text):
    assert main(["evaluate", str(trained), "--data", str(text), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert set(row) == {"loss", "perplexity", "bits_per_byte", "tokens"} and 0 < row["loss"] < 6
    again = []
    for _ in range(2):
        main(["generate", str(trained), "--prompt", "the ", "--max-new-tokens", "8", "--seed", "3"])
        again.append(capsys.readouterr().out)
    assert again[0] == again[1] and again[0].startswith("the ")
    main(["tokenizer", "encode", str(trained), "fox"])
    ids = capsys.readouterr().out.split()
    main(["tokenizer", "decode", str(trained), *ids])
    assert capsys.readouterr().out == "fox\n"


def test_a_tokenizers_folder_must_be_there_before_the_work(capsys, tmp_path, text):
    out = tmp_path / "missing" / "tokenizer.json"
    line = refuse(capsys, 2, "tokenizer", "train", "--data", text, "--out", out)
    assert "its folder does not exist" in line


def test_train_a_tokenizer(capsys, tmp_path, text):
    out = tmp_path / "tokenizer.json"
    assert (
        main(["tokenizer", "train", "--data", str(text), "--vocab-size", "270", "--out", str(out)])
        == 0
    )
    assert "270 tokens" in capsys.readouterr().out and out.exists()


def test_gradcheck_and_doctor(capsys):
    assert main(["gradcheck", "softmax", "linear"]) == 0
    assert "all right" in capsys.readouterr().out
    assert main(["gradcheck"]) == 0
    assert "all right" in capsys.readouterr().out
    assert main(["doctor"]) in (0, 2)
    assert "threading layer" in capsys.readouterr().out
    assert "did you mean 'softmax'" in refuse(capsys, 2, "gradcheck", "sofmax")


def test_estimate(capsys):
    small = [
        f"--set={key}={TINY[key]}"
        for key in ("n_layer", "n_head", "n_embd", "n_positions", "batch_size")
    ]
    assert main(["estimate", *small, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] > 0


def test_every_command_has_help_with_an_example(capsys):
    for name in [m.__name__.rpartition(".")[2].rstrip("_").replace("_", "-") for m in COMMANDS]:
        with pytest.raises(SystemExit) as leaving:
            build_parser().parse_args([name, "--help"])
        assert leaving.value.code == 0 and f"example: tinygrad-llm {name}" in " ".join(
            capsys.readouterr().out.split()
        )


def test_help_imports_no_numba():
    code = (
        "import sys\nfrom tinygrad_llm.cli.main import main\ntry: main(['--help'])\n"
        "except SystemExit: pass\nprint('numba' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["False", "False"]


def test_a_defect_is_not_hidden(monkeypatch):
    monkeypatch.setattr(command, "build_parser", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main([])

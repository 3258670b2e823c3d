"""The pretraining recipe: what it leaves behind, how it goes on, and what it refuses."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tinygrad_llm.errors import InputError, NonFiniteLoss
from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.recipes.comparison import baselines
from tinygrad_llm.recipes.pretrain import build, pretrain
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import restore, train_run
from tinygrad_llm.recipes.settings import Settings, preset, read_settings
from tinygrad_llm.tensor_files import load_tensors
from tinygrad_llm.text import load_tokenizer
from tinygrad_llm.training.journal import read_journal

TINY = {
    "tokenizer": "bytes",
    "n_positions": 16,
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 16,
    "dropout": 0.1,
    "batch_size": 3,
    "accumulation": 2,
    "steps": 20,
    "warmup": 5,
    "eval_every": 5,
    "save_every": 5,
    "sample_every": 10,
}


class Killed(BaseException):
    """Stands for a kill: nothing catches it, nothing is saved."""


class KillAt(Reporter):
    def __init__(self, step):
        self.step = step

    def stepped(self, report):
        if report.step == self.step:
            raise Killed


@pytest.fixture
def settings(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    return preset("default").updated({**TINY, "data": [str(text)]})


def state_of(folder):
    tensors, metadata = load_tensors(folder / "checkpoint.safetensors")
    model, _ = load_tensors(folder / "model.safetensors")
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_journal(folder)]
    return tensors, metadata, model, rows


def assert_same_run(one, other):
    for mine, theirs in zip(state_of(one), state_of(other), strict=True):
        if isinstance(mine, dict) and mine and isinstance(next(iter(mine.values())), np.ndarray):
            assert mine.keys() == theirs.keys()
            for name in mine:
                np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
        else:
            assert mine == theirs


@pytest.mark.parametrize("killed_at", [3, 10, 13])
def test_a_killed_run_goes_on_bit_for_bit(settings, tmp_path, killed_at):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    pretrain(settings, whole)
    with pytest.raises(Killed):
        pretrain(settings, parts, reporter=KillAt(killed_at))
    outcome = pretrain(settings, parts, resume=True)
    assert outcome.run.optimizer.steps == 20
    assert_same_run(whole, parts)


def test_the_run_folder(settings, tmp_path):
    outcome = pretrain(settings, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
        "settings.toml",
        "log.jsonl",
        "checkpoint.safetensors",
        "tokens",
    }
    assert read_settings(str(tmp_path / "run" / "settings.toml"), Settings()) == settings
    assert (
        load_tokenizer(tmp_path / "run").vocab_size
        == load_model(tmp_path / "run").config.vocab_size
    )
    assert outcome.score.loss < np.log(256) and outcome.run.progress.best_step > 0
    assert set(baselines(outcome.run)) == {"gzip", "bigram", "trigram"}
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert (
        sum("loss" in row for row in rows) == 20
        and sum("validation_loss" in row for row in rows) == 4
    )


def test_equal_seeds_equal_runs_other_seeds_other_runs(settings, tmp_path):
    losses = [
        pretrain(settings.updated({"seed": seed}), tmp_path / str(i)).score.loss
        for i, seed in enumerate((1, 1, 2))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_patience_stops_early_and_says_so(settings, tmp_path):
    class Notes(Reporter):
        notes = []

        def note(self, text):
            self.notes.append(text)

    frozen = settings.updated({"lr": 0.0, "min_lr": 0.0, "patience": 2, "steps": 100})
    assert pretrain(frozen, tmp_path / "run", reporter=Notes()).run.optimizer.steps == 15
    assert "step 15: no better held-out score in 2 evaluations" in Notes.notes[-1]


def test_a_held_out_loss_that_is_no_number_stops_before_anything_is_saved(settings, tmp_path):
    folder = tmp_path / "run"
    diverging = settings.updated({"lr": 1e30, "warmup": 0, "eval_every": 1, "save_every": 1})
    with pytest.raises(NonFiniteLoss, match="step 1: the held-out loss.*born in"):
        pretrain(diverging, folder)
    assert not (folder / "checkpoint.safetensors").exists()
    assert not (folder / "model.safetensors").exists() and len(read_journal(folder)) == 1


def test_a_nan_leaves_the_last_checkpoint_alone(settings, tmp_path):
    folder = tmp_path / "run"
    pretrain(settings, folder)
    before = (folder / "checkpoint.safetensors").read_bytes()
    hopeless = settings.updated({"steps": 40})

    class Poison(Reporter):
        def started(self, done, steps):
            self.run.optimizer.weights[:] = np.nan

    reporter = Poison()
    reporter.run = build(hopeless, folder, reporter)
    restore(reporter.run)
    with pytest.raises(NonFiniteLoss, match="step 21"):
        train_run(reporter.run, reporter)
    assert (folder / "checkpoint.safetensors").read_bytes() == before


def test_a_nan_before_anything_is_saved_leaves_the_folder_to_another_lr(settings, tmp_path):
    folder, diverging = tmp_path / "run", settings.updated({"lr": 1e30, "warmup": 0})
    with pytest.raises(NonFiniteLoss, match=r"run again with a smaller lr \(such as --set lr="):
        pretrain(diverging, folder)
    pretrain(settings, folder)
    pretrain(settings, tmp_path / "other")
    assert_same_run(folder, tmp_path / "other")


def test_a_run_killed_before_it_saved_is_bound_to_its_tokens_alone(settings, tmp_path):
    folder, other = tmp_path / "run", settings.updated({"lr": 1e-4, "n_layer": 2})
    with pytest.raises(Killed):
        pretrain(settings, folder, reporter=KillAt(3))
    with pytest.raises(InputError, match="cannot change tokenizer"):
        pretrain(settings.updated({"tokenizer": "characters"}), folder, resume=True)
    pretrain(other, folder, resume=True)
    pretrain(other, tmp_path / "other")
    assert_same_run(folder, tmp_path / "other")


def test_a_nan_after_something_was_saved_asks_for_another_folder(settings, tmp_path):
    diverging = settings.updated({"lr": 1e30, "warmup": 2, "save_every": 1})
    with pytest.raises(NonFiniteLoss, match="start a new run with another --out, a smaller lr"):
        pretrain(diverging, tmp_path / "run")
    with pytest.raises(InputError, match="cannot change lr"):
        pretrain(settings, tmp_path / "run", resume=True)


def test_a_pipe_can_be_read_once_and_that_suffices(settings, tmp_path):
    pipe, text = tmp_path / "pipe", Path(settings.run.data[0]).read_text()
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,), daemon=True)
    writer.start()
    pretrain(settings.updated({"data": [str(pipe)]}), tmp_path / "piped")
    pretrain(settings, tmp_path / "read")
    assert_same_run(tmp_path / "piped", tmp_path / "read")


def test_refusals(settings, tmp_path):
    folder = tmp_path / "run"
    pretrain(settings, folder)
    with pytest.raises(InputError, match="holds a run already.*--resume"):
        pretrain(settings, folder)
    with pytest.raises(InputError, match="cannot change n_layer from 1 to 2"):
        pretrain(settings.updated({"n_layer": 2}), folder, resume=True)
    with pytest.raises(InputError, match="did you mean 'n_layer'"):
        settings.updated({"n_layers": 2})
    with pytest.raises(InputError, match="did you mean 'gpt2'"):
        preset("gtp2")
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match="checkpoint.safetensors"):
        pretrain(settings, folder, resume=True)

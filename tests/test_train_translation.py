"""Training for translation: what it leaves behind, that it goes on bit for bit, what it refuses."""

import random

import numpy as np
import pytest

from tests.test_pretrain import Killed, KillAt, assert_same_run
from tinygrad_llm.cli.main import main
from tinygrad_llm.data.pairs import read_pairs
from tinygrad_llm.errors import InputError, NonFiniteLoss
from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.models.encoder_decoder import EncoderDecoder
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.settings import read_settings
from tinygrad_llm.recipes.train_translation import AVERAGES, forecast, train_translation
from tinygrad_llm.recipes.translation_settings import TranslationSettings
from tinygrad_llm.training.journal import read_journal
from tinygrad_llm.training.objectives import next_target_token

TINY = {
    "vocab_size": 280,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
    "batch_tokens": 100,
    "accumulation": 2,
    "steps": 20,
    "lr": 1e-2,
    "warmup": 5,
    "eval_every": 4,
    "save_every": 5,
    "sample_every": 10,
    "average": 3,
}


@pytest.fixture
def settings(tmp_path):
    source, target = write_pairs(tmp_path)
    return TranslationSettings().updated({**TINY, "source": source, "target": target})


def write_pairs(folder, count=120):
    rng = random.Random(1)
    texts = [rng.choices("abcdefgh", k=rng.randint(1, 6)) for _ in range(count)]
    (folder / "source.txt").write_text("".join(" ".join(t) + "\n" for t in texts))
    (folder / "target.txt").write_text("".join(" ".join(t[::-1]) + "\n" for t in texts))
    return str(folder / "source.txt"), str(folder / "target.txt")


@pytest.mark.parametrize("killed_at", [3, 10, 13])
def test_a_killed_run_goes_on_bit_for_bit(settings, tmp_path, killed_at):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_translation(settings, whole)
    with pytest.raises(Killed):
        train_translation(settings, parts, reporter=KillAt(killed_at))
    assert train_translation(settings, parts, resume=True).run.optimizer.steps == 20
    assert_same_run(whole, parts)


def test_the_run_folder(settings, tmp_path):
    folder, reporter = tmp_path / "run", Notes()
    outcome = train_translation(settings, folder, reporter=reporter)
    assert {path.name for path in folder.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "settings.toml",
        "log.jsonl",
        "checkpoint.safetensors",
    }
    assert len(list((folder / AVERAGES).iterdir())) == 3
    assert read_settings(str(folder / "settings.toml"), TranslationSettings()) == settings
    assert type(load_model(folder)) is EncoderDecoder
    rows = read_journal(folder)
    assert sum("loss" in row for row in rows) == 20
    held_out = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert len(held_out) == 5 and held_out[-1] < held_out[0]
    assert any("pairs are held out" in note for note in reporter.notes)
    assert "ms a step" in forecast(outcome.run) and len(reporter.samples) == 2


class Notes(Reporter):
    def __init__(self):
        self.notes, self.samples = [], []

    def note(self, text):
        self.notes.append(text)

    def sampled(self, step, text):
        self.samples.append(text)


def test_the_better_of_the_mean_and_the_best_is_the_model(settings, tmp_path):
    """With lr = 0 all weights are equal, and so is their mean; with a late large step it is not."""
    for lr in (0.0, 0.03):
        folder = tmp_path / str(lr)
        outcome = train_translation(settings.updated({"lr": lr, "dropout": 0.0}), folder)
        loss = outcome.run.progress.best[0]
        model, run = load_model(folder), outcome.run
        total = [next_target_token(model, *batch) for batch in run.held_out()]
        mean = sum(part.total.item() for part in total) / sum(part.tokens for part in total)
        assert abs(mean - min(loss, outcome.score.loss)) < 1e-5


def test_equal_seeds_equal_runs_other_seeds_other_runs(settings, tmp_path):
    losses = [
        train_translation(settings.updated({"seed": seed}), tmp_path / str(i)).score.loss
        for i, seed in enumerate((1, 1, 2))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_refusals(settings, tmp_path):
    folder = tmp_path / "run"
    train_translation(settings, folder)
    with pytest.raises(InputError, match="holds a run already.*--resume"):
        train_translation(settings, folder)
    with pytest.raises(InputError, match="cannot change d_model from 16 to 32"):
        train_translation(settings.updated({"d_model": 32}), folder, resume=True)
    with pytest.raises(InputError, match="--source"):
        train_translation(settings.updated({"source": ""}), tmp_path / "none")
    with pytest.raises(InputError, match="neither bpe nor an existing file"):
        train_translation(settings.updated({"tokenizer": "bbe"}), tmp_path / "none")
    with pytest.raises(NonFiniteLoss, match="smaller lr"):
        train_translation(settings.updated({"lr": 1e30, "warmup": 0}), tmp_path / "nan")
    (tmp_path / "target.txt").write_text("a\n")
    with pytest.raises(InputError, match="120 lines"):
        train_translation(settings, tmp_path / "other")


def test_the_commands(settings, tmp_path, capsys):
    source, target = write_pairs(tmp_path)
    assignments = [f"--set={key}={value}" for key, value in TINY.items()]
    files = ["--source", source, "--target", target, "--out", str(tmp_path / "run")]
    assert main(["train-translation", *files, *assignments]) == 0
    out = capsys.readouterr().out
    assert "ms a step" in out and "held-out loss" in out and "tinygrad-llm translate" in out
    svg = tmp_path / "map.svg"
    assert main(["translate", str(tmp_path / "run"), "a b c", "--attention", str(svg)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 and svg.read_text().startswith("<svg")
    assert main(["translate", str(tmp_path / "run"), "a b\n\nc", "--beam", "1"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 4 and lines[1] == ""
    assert main(["translate", str(tmp_path / "run"), "a\nb", "--attention", str(svg)]) == 2
    assert "one text, not of 2" in capsys.readouterr().err
    assert main(["translate", str(tmp_path / "run"), " ", "--attention", str(svg)]) == 2
    assert "one text, not of 0" in capsys.readouterr().err
    assert main(["translate", str(tmp_path / "run"), "\na b", "--attention", str(svg)]) == 0
    assert main(["generate", str(tmp_path / "run"), "--prompt", "a"]) == 2
    assert "EncoderDecoder" in capsys.readouterr().err


def test_the_table_is_a_file_too(settings, tmp_path):
    texts, table = read_pairs(settings.run.source, settings.run.target), tmp_path / "pairs.tsv"
    table.write_text("".join(f"{a}\t{b}\n" for a, b in texts))
    as_table = settings.updated({"source": str(table), "target": "", "steps": 4})
    loss = train_translation(as_table, tmp_path / "table").score.loss
    assert loss == train_translation(settings.updated({"steps": 4}), tmp_path / "two").score.loss
    assert np.isfinite(loss)

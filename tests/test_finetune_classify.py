"""The classification recipe: what it leaves behind, how it goes on, and what it refuses."""

import json
import os
import signal

import numpy as np
import pytest

from tests.test_pretrain import Killed, KillAt, assert_same_run
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.classifier import load_classifier
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn.quantized import quantize
from tinygrad_llm.recipes import finetune_classify as recipe
from tinygrad_llm.recipes.classify import classify
from tinygrad_llm.recipes.finetune_classify import ClassifySettings, finetune_classify
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.text import ByteTokenizer, CharTokenizer, load_tokenizer
from tinygrad_llm.training.journal import read_journal

CONFIG = GPTConfig(256, 32, 2, 2, 16, dropout=0.1, initializer_range=0.1)


@pytest.fixture
def base(tmp_path):
    save_model(tmp_path / "base", GPT(CONFIG, rng=np.random.default_rng(0)))
    ByteTokenizer().save(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def settings(base, tmp_path):
    """Texts of digits or letters, 40 of each and 20 letters more."""
    rng, rows = np.random.default_rng(0), ["text\tlabel"]
    for i in range(100):
        label, signs = ("digits", "0123456789") if i < 40 else ("letters", "abcdefghij")
        rows.append(f"{''.join(rng.choice(list(signs), 9))}\t{label}")
    (tmp_path / "data.tsv").write_text("\n".join(rows))
    return ClassifySettings().updated(
        {
            "base": str(base),
            "data": str(tmp_path / "data.tsv"),
            "epochs": 2,
            "batch_size": 4,
            "accumulation": 2,
            "lr": 1e-2,
        }
    )


def test_it_learns_and_leaves_a_folder(settings, tmp_path):
    result = finetune_classify(settings.updated({"epochs": 5}), tmp_path / "run")
    assert result.test.accuracy == 1.0 and result.test.counts.sum() == 16
    assert result.majority == pytest.approx(0.5, abs=0.2)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "settings.toml"}
    assert names >= {"log.jsonl", "loss.png", "confusion.png", "result.json"}
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["test_accuracy"] == 1.0 and stored["labels"] == ["digits", "letters"]
    rows = read_journal(tmp_path / "run")
    assert sum("loss" in row for row in rows) == 35
    assert [row["step"] for row in rows if "validation_accuracy" in row] == [7, 14, 21, 28, 35]
    found = classify(tmp_path / "run", ["555 777 99", " defghi "])
    assert found.best() == ["digits", "letters"]
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-6)
    assert load_tokenizer(tmp_path / "run").fingerprint() == ByteTokenizer().fingerprint()


@pytest.mark.parametrize("changed", [{}, {"freeze": 1}, {"freeze": "all"}, {"rank": 2}])
@pytest.mark.parametrize("killed_at", [3, 7, 11])
def test_a_killed_run_goes_on_bit_for_bit(settings, tmp_path, changed, killed_at):
    settings = settings.updated(changed)
    whole = finetune_classify(settings, tmp_path / "whole")
    with pytest.raises(Killed):
        finetune_classify(settings, tmp_path / "parts", reporter=KillAt(killed_at))
    parts = finetune_classify(settings, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    np.testing.assert_array_equal(parts.test.counts, whole.test.counts)
    assert parts.test.loss == whole.test.loss and parts.run.optimizer.steps == 14


def test_a_signal_stops_saves_and_scores_nothing(settings, tmp_path):
    class Stop(Reporter):
        def stepped(self, report):
            if report.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    result = finetune_classify(settings, tmp_path / "parts", reporter=Stop())
    assert result.signal == signal.SIGTERM and result.test is None
    assert result.run.optimizer.steps == 4 and not (tmp_path / "parts" / "result.json").exists()
    load_classifier(tmp_path / "parts")
    finetune_classify(settings, tmp_path / "parts", resume=True)
    finetune_classify(settings, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_frozen_weights_are_those_of_the_base(settings, base, tmp_path):
    finetune_classify(settings.updated({"freeze": 1}), tmp_path / "run")
    model, most = load_classifier(tmp_path / "run")
    fresh = GPT(CONFIG, rng=np.random.default_rng(0))
    assert most == 32
    np.testing.assert_array_equal(model.trunk.wte.weight.data, fresh.wte.weight.data)
    for block, same in ((0, True), (1, False)):
        ours, theirs = (m.h[block].mlp.c_fc.weight.data for m in (model.trunk, fresh))
        assert np.array_equal(ours, theirs) == same


def test_adapters_train_alone_and_are_in_the_folders_weights(settings, tmp_path):
    result = finetune_classify(settings.updated({"rank": 4, "epochs": 4}), tmp_path / "run")
    assert result.test.accuracy > 0.9
    names = {n for n, p in result.run.model.named_parameters() if p.requires_grad}
    assert names == {"score.weight"} | {
        f"trunk.h.{i}.attn.in_proj.adapters.0.lora_{ab}" for i in range(2) for ab in "AB"
    }
    model, _ = load_classifier(tmp_path / "run")
    fresh = GPT(CONFIG, rng=np.random.default_rng(0))
    changed = [
        name
        for name, array in fresh.state_dict().items()
        if not np.array_equal(array, model.state_dict()[f"trunk.{name}"])
    ]
    assert changed == ["h.0.attn.in_proj.weight", "h.1.attn.in_proj.weight"]


def test_seeds_scratch_and_weights_make_other_runs(settings, tmp_path):
    class Notes(Reporter):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

    losses, reporter = [], Notes()
    for i, changed in enumerate(
        ({}, {}, {"seed": 2}, {"from_scratch": True}, {"balance": "weight"})
    ):
        run = finetune_classify(settings.updated(changed), tmp_path / str(i), reporter=reporter)
        losses.append(run.test.loss)
    assert losses[0] == losses[1] and len(set(losses)) == 4
    assert "80 of 100 examples: 40 digits, 40 letters; 56 to train on" in reporter.notes[0]
    assert any("100 of 100 examples: 40 digits, 60 letters" in note for note in reporter.notes)


def test_patience_is_kept_over_evaluations_and_kills(settings, tmp_path):
    hopeless = settings.updated({"lr": 0.0, "patience": 2, "epochs": 9})
    result = finetune_classify(hopeless, tmp_path / "run")
    assert result.run.optimizer.steps == 21 and result.run.progress.best_step == 7
    with pytest.raises(Killed):
        finetune_classify(hopeless, tmp_path / "parts", reporter=KillAt(16))
    finetune_classify(hopeless, tmp_path / "parts", resume=True)  # the best was before the kill
    assert_same_run(tmp_path / "run", tmp_path / "parts")


def test_a_base_in_blocks_is_refused_before_it_trains(settings, base, tmp_path):
    config = GPTConfig(256, 32, 1, 2, 32)
    model = quantize(GPT(config, rng=np.random.default_rng(0)), "Q8_0")
    save_model(tmp_path / "blocks", model)
    ByteTokenizer().save(tmp_path / "blocks")
    with pytest.raises(InputError, match="blocks are quantized, .* without --keep-bits"):
        finetune_classify(settings.updated({"base": str(tmp_path / "blocks")}), tmp_path / "run")


def test_labels_are_drawn_as_they_are(settings, tmp_path):
    """A dollar opens a formula in matplotlib, which then may be none."""
    path = tmp_path / "data.tsv"
    path.write_text(path.read_text().replace("digits", "$\\frac$").replace("letters", "буквы"))
    result = finetune_classify(settings.updated({"epochs": 1}), tmp_path / "run")
    assert result.test.labels == ("$\\frac$", "буквы")
    assert (tmp_path / "run" / "confusion.png").exists()


def test_refusals(settings, base, tmp_path, monkeypatch):
    def refused(message, **changed):
        with pytest.raises(InputError, match=message):
            finetune_classify(settings.updated(changed), tmp_path / "run")
        assert not (tmp_path / "run" / "settings.toml").exists()

    refused("3 blocks cannot be frozen; the model has 2", freeze=3)
    refused("neither a Hugging Face folder", base="nowhere")
    refused("no column 'x'", text_column="x")
    refused("a GPT is not pooled by 'cls'", pooling="cls")
    refused("freeze all leaves no adapter to train", freeze="all", rank=2)
    refused("freeze 2 leaves no adapter to train", freeze=2, rank=2)
    monkeypatch.setattr(recipe, "physical_memory", lambda: 50_000)
    refused("takes 0 MB, and this machine has 0; take fewer texts", freeze=1)
    finetune_classify(settings.updated({"freeze": "all", "epochs": 1}), tmp_path / "a vector each")
    CharTokenizer.train(["".join(map(chr, range(100, 501)))]).save(base)
    refused("the tokenizer has 401 tokens, but the model knows 256")
    ByteTokenizer().save(base)
    with pytest.raises(InputError, match="unknown balance 'samples'; did you mean 'sample'"):
        settings.updated({"balance": "samples"})
    with pytest.raises(InputError, match="freeze is 'some'; give a number of blocks, or all"):
        settings.updated({"freeze": "some"})
    with pytest.raises(InputError, match="epochs is 0"):
        settings.updated({"epochs": 0})
    with pytest.raises(InputError, match="holds a model already; name another --out"):
        finetune_classify(settings, base)
    finetune_classify(settings, tmp_path / "run")
    with pytest.raises(InputError, match="cannot change lr from 0.01 to 0.1"):
        finetune_classify(settings.updated({"lr": 0.1}), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="text 2 is empty"):
        classify(tmp_path / "run", ["a", " "])

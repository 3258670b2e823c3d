"""The recipe for instructions: what it leaves behind, how it goes on, and what it refuses."""

import itertools
import json

import numpy as np
import pytest

from tests.test_pretrain import Killed, KillAt, assert_same_run
from tinygrad_llm.cli.main import main
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.peft_files import load_adapter
from tinygrad_llm.finetuning.scoring import AnswerScore
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.inference.generation_config import load_generation_config
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.recipes.finetune_instruct import InstructSettings, finetune_instruct
from tinygrad_llm.recipes.generate import continue_prompt
from tinygrad_llm.text import ByteTokenizer
from tinygrad_llm.training import checkpoint
from tinygrad_llm.training.journal import read_journal

CONFIG = GPTConfig(259, 96, 2, 2, 16, dropout=0.1, initializer_range=0.1)
ENDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_base(folder):
    save_model(folder, GPT(CONFIG, rng=np.random.default_rng(0)))
    ByteTokenizer(special_tokens=ENDS).save(folder)
    return folder


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base")


@pytest.fixture
def settings(base, tmp_path):
    """40 instructions that all want one answer."""
    rows = [{"instruction": f"Say {i}.", "input": "", "output": "ok"} for i in range(40)]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    return InstructSettings().updated(
        {
            "base": str(base),
            "data": str(tmp_path / "data.json"),
            "batch_size": 4,
            "accumulation": 2,
            "answer_tokens": 4,
            "lr": 1e-2,
        }
    )


@pytest.mark.parametrize("rank", [0, 4])
def test_it_learns_and_leaves_a_folder(settings, base, tmp_path, rank):
    settings = settings.updated({"epochs": 8, "rank": rank, "lr": 3e-2})
    result = finetune_instruct(settings, tmp_path / "run")
    assert result.end < (result.start - 0.5 if rank else result.start / 4)
    assert result.before.exact_match == 0
    if rank == 0:
        assert result.after == AnswerScore(1.0, 1.0)
    document = json.loads((tmp_path / "run" / "answers.json").read_text())
    assert document["means"]["after"] == result.after._asdict()
    assert [row["instruction"][4:6] for row in document["answers"]] == ["34", "35", "36", "37"]
    assert document["answers"][0]["after"].keys() == {"answer", "exact_match", "f1"}
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "settings.toml"}
    assert names >= {"log.jsonl", "loss.png", "generation_config.json"}
    assert ("adapter" in names) == (rank > 0)
    config = load_generation_config(tmp_path / "run")
    assert (config.temperature, config.eos_token_id, config.max_new_tokens) == (0.0, 258, 4)
    assert "".join(continue_prompt(tmp_path / "run", "Say"))
    rows = read_journal(tmp_path / "run")
    assert [row["step"] for row in rows if "validation_loss" in row] == list(range(2, 41, 2))


def test_the_folder_holds_the_base_with_its_adapters_merged(settings, base, tmp_path):
    finetune_instruct(settings, tmp_path / "run")
    whole, apart = load_model(tmp_path / "run"), load_model(base)
    load_adapter(tmp_path / "run" / "adapter", apart)
    ids = np.arange(20)[None]
    np.testing.assert_allclose(whole(ids).data, apart(ids).data, rtol=1e-4, atol=1e-5)
    fresh = load_model(base)
    assert np.array_equal(whole.wte.weight.data, fresh.wte.weight.data)
    assert not np.array_equal(whole(ids).data, fresh(ids).data)


@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize("killed_at", [1, 5, 8])
def test_a_killed_run_goes_on_bit_for_bit(settings, tmp_path, rank, killed_at):
    settings = settings.updated({"rank": rank, "dropout": 0.1})
    whole = finetune_instruct(settings, tmp_path / "whole")
    with pytest.raises(Killed):
        finetune_instruct(settings, tmp_path / "parts", reporter=KillAt(killed_at))
    parts = finetune_instruct(settings, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert (parts.start, parts.end, parts.after) == (whole.start, whole.end, whole.after)
    files = ["answers.json", "adapter/adapter_model.safetensors"][: 1 + (rank > 0)]
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize("saves", [0, 1])
def test_a_kill_between_the_model_and_its_checkpoint(settings, tmp_path, monkeypatch, saves):
    """The best model is of a step that no checkpoint has yet; the run comes to it again."""
    finetune_instruct(settings, tmp_path / "whole")
    save, calls = checkpoint.save_checkpoint, itertools.count()

    def kill(*args):
        if next(calls) == saves:
            raise Killed
        save(*args)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(checkpoint, "save_checkpoint", kill)
        finetune_instruct(settings, tmp_path / "parts")
    assert (tmp_path / "parts" / "adapter").exists()
    finetune_instruct(settings, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_try_that_failed_leaves_nothing_to_the_next(settings, tmp_path):
    """before.json of another base or of other data must not be taken for this run's."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "before.json").write_text('{"loss": 0.0, "answers": ["stale"]}')
    result = finetune_instruct(settings, tmp_path / "run")
    assert result.start > 1 and "stale" not in (tmp_path / "run" / "answers.json").read_text()


def test_refusals(settings, tmp_path):
    def refused(message, **changed):
        with pytest.raises(InputError, match=message):
            finetune_instruct(settings.updated(changed), tmp_path / "run")
        assert not (tmp_path / "run" / "settings.toml").exists()

    (tmp_path / "broken.json").write_text('[{"instruction": "a",\n "output" "b"}]')
    refused("broken.json is not valid JSON: .* line 2 ", data=str(tmp_path / "broken.json"))
    refused("cannot read", data=str(tmp_path / "absent.json"))
    refused("did you mean 'alpaca'", template="alpacca")
    refused("no example has at most 3 tokens", max_length=3)
    refused("did you mean 'c_attn'", targets=("c_atn",))
    with pytest.raises(InputError, match="answer_tokens is 0; it must be at least 1"):
        settings.updated({"answer_tokens": 0})


def test_a_base_that_cannot_write(settings, minilm, tmp_path):
    with pytest.raises(InputError, match="holds a Bert, which cannot write an answer"):
        finetune_instruct(settings.updated({"base": str(minilm)}), tmp_path / "run")


def test_the_command(settings, base, tmp_path, capsys):
    data, out = str(tmp_path / "data.json"), str(tmp_path / "run")
    command = ["finetune", "instruct", str(base), "--data", data, "--out", out, "--lora", "2"]
    assert main([*command, "--show-mask"]) == 0
    assert "\x1b[30;48;5;157mo\x1b[0m" in capsys.readouterr().out
    assert main([*command, "--epochs", "1", "--set", "answer_tokens=3"]) == 0
    shown = capsys.readouterr().out
    assert "test answers before: exact match 0.0%" in shown and "of them trained" in shown
    (tmp_path / "data.json").write_text("{")
    assert main([*command[:5], "--out", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "line 1" in error

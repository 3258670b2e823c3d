"""The recipe for preferences: where it starts, what it lowers, how it goes on."""

import json
import math

import numpy as np
import pytest

from tests.test_finetune_instruct import make_base
from tests.test_pretrain import Killed, KillAt, assert_same_run
from tinygrad_llm.cli.main import main
from tinygrad_llm.errors import InputError
from tinygrad_llm.recipes.finetune_prefer import PreferSettings, finetune_prefer
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.tensor_files import load_tensors, save_tensors


@pytest.fixture
def settings(tmp_path):
    """40 instructions where the answer in capitals is rejected."""
    rows = [
        {"instruction": f"Say {i}.", "input": "", "output": "x", "chosen": "ok", "rejected": "NO!"}
        for i in range(40)
    ]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    return PreferSettings().updated(
        {
            "base": str(make_base(tmp_path / "base")),
            "data": str(tmp_path / "data.json"),
            "epochs": 2,
            "accumulation": 2,
            "lr": 1e-2,
        }
    )


class Losses(Reporter):
    def __init__(self):
        self.losses = []

    def stepped(self, report):
        self.losses.append(report.loss)


def test_it_starts_at_log_2_and_ends_with_a_margin(settings, tmp_path):
    reporter = Losses()
    result = finetune_prefer(settings.updated({"beta": 0.5}), tmp_path / "run", reporter=reporter)
    assert reporter.losses[0] == pytest.approx(math.log(2), abs=1e-3)
    assert result.test.loss < 0.6 and result.test.margin > 0 and result.test.accuracy == 1.0
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["test_reward_margin"] == result.test.margin
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"config.json", "model.safetensors", "adapter", "reference.safetensors"}


@pytest.mark.parametrize("killed_at", [1, 5, 9])
def test_a_killed_run_goes_on_bit_for_bit(settings, tmp_path, killed_at):
    whole = finetune_prefer(settings, tmp_path / "whole")
    with pytest.raises(Killed):
        finetune_prefer(settings, tmp_path / "parts", reporter=KillAt(killed_at))
    parts = finetune_prefer(settings, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert parts.test == whole.test


def test_the_reference_is_computed_once_and_never_taken_from_another_run(settings, tmp_path):
    """One left by a failed try is made anew; the one of a run with a checkpoint is read."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "reference.safetensors"
    save_tensors(path, {"training": np.zeros((34, 2), np.float32)})
    finetune_prefer(settings.updated({"epochs": 1}), tmp_path / "run")
    kept, _ = load_tensors(path)
    assert {name: len(array) for name, array in kept.items()} == {
        "training": 34,
        "test": 4,
        "validation": 2,
    }
    stamp = path.stat().st_mtime_ns
    finetune_prefer(settings, tmp_path / "run", resume=True)
    assert path.stat().st_mtime_ns == stamp
    save_tensors(path, {"training": kept["training"][:3]})
    with pytest.raises(InputError, match="is of other pairs; remove it"):
        finetune_prefer(settings, tmp_path / "run", resume=True)


def test_the_command(settings, tmp_path, capsys):
    base, data = settings.tuning.base, settings.tuning.data
    command = ["finetune", "prefer", base, "--data", data, "--out", str(tmp_path / "run")]
    assert main([*command, "--epochs", "1", "--beta", "0.2"]) == 0
    assert "4 test pairs: loss 0." in capsys.readouterr().out
    (tmp_path / "data.json").write_text(json.dumps([{"instruction": "a", "chosen": "b"}]))
    assert main([*command[:5], "--out", str(tmp_path / "other")]) == 2
    assert "entry 1 has no 'rejected'" in capsys.readouterr().err
    assert main([*command, "--set", "dropout=0.1"]) == 2
    assert "dropout 0.1: preferences are learned without" in capsys.readouterr().err
    assert main([*command[:5], "--out", str(tmp_path / "third"), "--beta", "0"]) == 2
    assert "beta 0.0 is not in" in capsys.readouterr().err

"""What fine-tunings share: a base from anywhere, epochs as steps, and a forecast that changes
nothing.
"""

import time

import numpy as np
import pytest

from tests.test_finetune_classify import base, settings  # noqa: F401 (fixtures)
from tests.test_import import gguf_file  # noqa: F401 (fixture)
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.epochs import Epochs
from tinygrad_llm.models import GPT, Llama
from tinygrad_llm.recipes.finetune_classify import build, read_parts
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Plan
from tinygrad_llm.recipes.tuning import TuningConfig, course, open_base, step_seconds, timed
from tinygrad_llm.text import load_tokenizer
from tinygrad_llm.training.loop import LoopConfig


def test_a_base_is_a_folder_or_a_gguf_file(base, gguf_file, tmp_path):  # noqa: F811
    rng = np.random.default_rng(5)
    found = open_base(str(base), rng)
    assert isinstance(found.model, GPT) and found.model.drop.rng is rng
    found = open_base(str(gguf_file), rng)
    assert isinstance(found.model, Llama) and found.model.config.vocab_size == 263
    (tmp_path / "own").mkdir()
    found.save_tokenizer(tmp_path / "own")
    assert (tmp_path / "own" / "tokenizer.json").exists()
    assert load_tokenizer(tmp_path / "own").fingerprint() == found.tokenizer.fingerprint()
    with pytest.raises(InputError, match="neither a Hugging Face folder"):
        open_base("nowhere", rng)


@pytest.mark.parametrize(
    "accumulation,evaluations,steps,every", [(1, 1, 78, 26), (4, 1, 21, 7), (4, 2, 21, 3)]
)
def test_epochs_become_steps(accumulation, evaluations, steps, every):
    """103 examples in batches of 4 are 26 batches, thrice."""
    config = TuningConfig(
        epochs=3, batch_size=4, accumulation=accumulation, evaluations=evaluations, clip=0.5
    )
    rng = np.random.default_rng(0)
    found = course(config, Epochs([1] * 103, list, batch_size=4, rng=rng))
    wanted = LoopConfig(steps=steps, batch_size=4, accumulation=accumulation, clip=0.5)
    assert found.loop == wanted and found.plan == Plan(every, every, sample_every=0, patience=0)
    assert found.schedule.warmup == int(0.1 * steps) and found.schedule.min_lr == 0.0


def test_an_update_does_not_take_more_than_an_epoch():
    """Or an epoch of one update would train on each example several times."""
    batches = Epochs([1] * 9, list, batch_size=4, rng=np.random.default_rng(0))
    assert course(TuningConfig(epochs=2, accumulation=3), batches).loop.steps == 2
    with pytest.raises(InputError, match="accumulation 4 is more than an epoch has batches, 3 of"):
        course(TuningConfig(accumulation=4), batches)


def test_the_forecast_changes_nothing(settings, tmp_path):  # noqa: F811
    reporter = Reporter()
    (tmp_path / "run").mkdir()
    run = build(settings, read_parts(settings, reporter), tmp_path / "run", reporter)
    weights, state = run.optimizer.weights.copy(), run.rng.bit_generator.state
    batches = run.batches.state_dict()
    assert 0 < step_seconds(run) < 5
    np.testing.assert_array_equal(run.optimizer.weights, weights)
    assert run.rng.bit_generator.state == state and run.batches.state_dict() == batches
    assert run.optimizer.steps == 0 and not any(p.grad is not None for p in run.model.parameters())


def test_timed_leaves_the_first_time_out():
    seconds = iter([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])

    def work():
        end = time.perf_counter() + next(seconds)
        while time.perf_counter() < end:
            pass

    assert timed(work) < 0.1

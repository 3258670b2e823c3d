"""The loop that all runs share: what is due when, which evaluation is the best, and patience."""

import dataclasses

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Linear
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Plan, Run, due, restore, train_run
from tinygrad_llm.training.journal import read_journal
from tinygrad_llm.training.loop import LoopConfig
from tinygrad_llm.training.objectives import Loss
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig


class Ones:
    """The same batch without end; counts what it gave."""

    given = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.given += 1
        return np.ones((2, 3), np.float32), np.zeros(2)

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.given = state["given"]


@dataclasses.dataclass
class Figures:
    """An evaluation that finds what it was told."""

    errors: float
    loss: float

    @property
    def rank(self):
        return self.errors, self.loss

    def row(self):
        return {"validation_loss": self.loss}


class Told(Run):
    """Evaluations come from a list; models are numbered by the step that they were saved at."""

    def evaluate(self):
        return Figures(*self.figures[self.optimizer.steps - 1])

    def save_model(self):
        self.saved.append(self.optimizer.steps)


def told(folder, figures, patience=0, frozen=False):
    model = Linear(3, 1, rng=np.random.default_rng(0))
    model.bias.requires_grad = not frozen
    run = Told(
        folder,
        model,
        lambda model, x, y: Loss((model(x) ** 2).sum(), 2),
        AdamW(model.parameters()),
        Ones(),
        np.random.default_rng(0),
        LoopConfig(steps=len(figures)),
        ScheduleConfig(warmup=0),
        Plan(eval_every=1, save_every=2, patience=patience),
    )
    run.figures, run.saved = figures, []
    return run


def test_due():
    assert [step for step in range(1, 12) if due(step, 4, 11)] == [4, 8, 11]


def test_the_first_figure_decides_then_the_second(tmp_path):
    figures = [(0.5, 1.0), (0.4, 2.0), (0.4, 1.5), (0.4, 1.5), (0.6, 0.1)]
    run = told(tmp_path, figures)
    train_run(run, Reporter())
    assert run.saved == [1, 2, 3]
    assert run.progress.best == (0.4, 1.5) and run.progress.best_step == 3
    assert run.progress.evaluations_since_best == 2
    assert [r["validation_loss"] for r in read_journal(tmp_path) if "validation_loss" in r] == [
        loss for _, loss in figures
    ]


def test_patience_lasts_and_a_run_that_lost_it_goes_no_further(tmp_path):
    figures = [(0.5, 1.0)] * 9
    run = told(tmp_path, figures, patience=3)
    train_run(run, Reporter())
    assert run.optimizer.steps == 4  # the first is the best, three more are waited for
    again = told(tmp_path, figures, patience=3)
    restore(again)
    train_run(again, Reporter())
    assert again.optimizer.steps == 4 and again.batches.given == 4


def test_a_checkpoint_holds_what_trains_and_leaves_the_rest_alone(tmp_path):
    run = told(tmp_path, [(0.5, 1.0)] * 2, frozen=True)
    train_run(run, Reporter())
    again = told(tmp_path, [(0.5, 1.0)] * 2, frozen=True)
    again.model.bias.copy_([7.0])
    restore(again)
    np.testing.assert_array_equal(again.model.weight.data, run.model.weight.data)
    assert again.model.bias.data == 7.0
    thawed = told(tmp_path, [(0.5, 1.0)] * 2)
    with pytest.raises(InputError, match="checkpoint of this run"):
        restore(thawed)

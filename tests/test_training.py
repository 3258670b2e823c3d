"""The parts of the loop: schedule, clipping, accumulation, evaluation, journal."""

import json
import math

import numpy as np
import pytest

from tinygrad_llm.errors import InputError, NonFiniteLoss
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.training.evaluation import evaluate
from tinygrad_llm.training.journal import Journal, read_journal
from tinygrad_llm.training.loop import StepsConfig, fit, train, train_step
from tinygrad_llm.training.objectives import IGNORE, next_token
from tinygrad_llm.training.optimizer import AdamW, clip_scale
from tinygrad_llm.training.schedules import ScheduleConfig, learning_rate
from tinygrad_llm.twins import reference

CONFIG = GPTConfig(vocab_size=11, n_positions=8, n_layer=1, n_head=2, n_embd=8)


@pytest.fixture(autouse=True)
def plain_numpy():
    with reference():
        yield


def batch(rows=4, seed=0):
    ids = np.random.default_rng(seed).integers(0, 11, (rows, 9))
    return ids[:, :-1], ids[:, 1:].copy()


def test_schedule_by_hand():
    config = ScheduleConfig(lr=1.0, min_lr=0.1, warmup=4)
    rates = [learning_rate(step, 14, config) for step in range(15)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == 1.0 and rates[9] == pytest.approx(0.55) and rates[14] == pytest.approx(0.1)


def test_the_papers_schedule_is_the_inverse_square_root():
    """lr = width^-0.5 min(n^-0.5, n w^-1.5): Vaswani et al. 2017, equation 3."""
    config = ScheduleConfig(lr=1 / math.sqrt(512 * 4000), warmup=4000, decay="inverse_sqrt")
    for n in (1, 2, 3999, 4000, 4001, 100_000):
        paper = 512**-0.5 * min(n**-0.5, n * 4000**-1.5)
        assert learning_rate(n - 1, 100_000, config) == pytest.approx(paper)
    with pytest.raises(InputError, match="inverse_sqrt"):
        ScheduleConfig(decay="inverse_sqr")


def test_adamw_by_hand():
    """One weight 1, gradient 2: m' = 2, v' = 4, so the step is lr; the decay takes lr * 0.1
    before.
    """
    model = GPT(CONFIG, rng=np.random.default_rng(0))
    optimizer = AdamW(model.parameters())
    optimizer.weights[:] = 1
    for parameter in optimizer.parameters:
        parameter.grad = np.full(parameter.shape, 2, np.float32)
    optimizer.step(0.5)
    assert optimizer.weights[0] == pytest.approx(1 * (1 - 0.05) - 0.5, rel=1e-5)
    assert optimizer.weights[-1] == pytest.approx(1 - 0.5, rel=1e-5)
    assert (
        model.ln_f.bias.data[-1] == optimizer.weights[-1] or model.ln_f.bias.data.base is not None
    )


def test_a_parameter_without_a_gradient_keeps_none_of_an_earlier_step():
    used, unused = (Tensor(np.ones((1, 2), np.float32), requires_grad=True) for _ in range(2))
    optimizer = AdamW([used, unused])
    (used.sum() + unused.sum()).backward()
    assert optimizer.grad_norm() == 2
    optimizer.zero_grad()
    assert used.grad is None
    used.sum().backward()
    assert optimizer.grad_norm() == pytest.approx(2**0.5) and not unused.grad.any()
    assert used.grad.base is optimizer.gradients and unused.grad.base is optimizer.gradients


def test_clip_scale():
    assert (
        clip_scale(0.5, 1.0) == 1.0 and clip_scale(4.0, 1.0) == 0.25 and clip_scale(4.0, 0) == 1.0
    )


def one_step(parts):
    inputs, targets = batch(4)
    targets[0] = IGNORE
    targets[1, 3:] = IGNORE
    model = GPT(CONFIG, rng=np.random.default_rng(0))
    optimizer = AdamW(model.parameters())
    pieces = list(zip(np.split(inputs, parts), np.split(targets, parts), strict=True))
    return (
        *train_step(
            model, next_token, optimizer, pieces, lr=1e-3, clip=1.0, rng=np.random.default_rng(0)
        ),
        optimizer.gradients,
    )


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_weighs_every_token_the_same(parts):
    loss, norm, tokens, gradients = one_step(1)
    in_parts = one_step(parts)
    assert in_parts[2] == tokens == 19
    assert in_parts[0] == pytest.approx(loss, rel=1e-6) and in_parts[1] == pytest.approx(
        norm, rel=1e-5
    )
    np.testing.assert_allclose(in_parts[3], gradients, atol=1e-5)


def test_fit_is_train_to_the_end():
    """The same weights as by the loop, one batch a step, and progress sees every step."""
    fitted, looped = (GPT(CONFIG, rng=np.random.default_rng(0)) for _ in range(2))
    rng, seen = np.random.default_rng(0), []

    def progress(reports, total, leave):
        assert total == 5 and not leave
        for report in reports:
            seen.append(report.step)
            yield report

    stream = (batch(seed=i) for i in range(5))
    fit(fitted, next_token, stream, steps=5, lr=0.01, rng=rng, progress=progress)
    schedule = ScheduleConfig(lr=0.01, min_lr=0.0, warmup=0)  # a tenth of 5 steps
    plan = {"loop": StepsConfig(5), "schedule": schedule, "rng": rng}
    stream = (batch(seed=i) for i in range(5))
    list(train(looped, next_token, AdamW(looped.parameters()), stream, **plan))
    for a, b in zip(fitted.parameters(), looped.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert seen == [1, 2, 3, 4, 5]
    fit(fitted, next_token, iter([batch()]), steps=1, lr=0.01, rng=rng)
    assert not np.array_equal(fitted.wte.weight.data, looped.wte.weight.data)


def test_a_nan_stops_the_step_names_its_birth_and_leaves_the_weights():
    model = GPT(CONFIG, rng=np.random.default_rng(0))
    optimizer = AdamW(model.parameters())
    optimizer.weights[: 8 * 11] = np.inf
    before = optimizer.weights.copy()
    with (
        pytest.raises(NonFiniteLoss, match="step 1: .*born in layer_norm"),
        np.errstate(all="ignore"),
    ):
        train_step(
            model, next_token, optimizer, [batch()], lr=1e-3, clip=1.0, rng=np.random.default_rng(0)
        )
    np.testing.assert_array_equal(optimizer.weights, before)
    assert optimizer.steps == 0


def test_evaluation_of_a_uniform_model():
    model = GPT(CONFIG, rng=np.random.default_rng(0))
    for parameter in model.parameters():
        parameter.copy_(np.zeros(parameter.shape))
    model.train()
    score = evaluate(model, next_token, [batch(3), batch(1)], np.full(11, 2))
    assert score.tokens == 32 and score.bytes == 64 and model.training
    assert score.loss == pytest.approx(math.log(11)) and score.perplexity == pytest.approx(11)
    assert score.bits_per_byte == pytest.approx(math.log2(11) / 2)


def test_journal_is_cut_back_to_the_checkpoint(tmp_path):
    journal = Journal(tmp_path, 0)
    for step in range(1, 6):
        journal.write(step=step, loss=float(step))
    journal.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 6, "lo')  # a kill in the middle of a line
    assert [row["step"] for row in read_journal(tmp_path)] == [1, 2, 3, 4, 5]
    Journal(tmp_path, 3).close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]

"""BERT pretrained by the recipe of GPT: goes on bit for bit, learns, costs what was forecast."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.test_encode import TOKENIZER as WORDPIECE
from tests.test_pretrain import KillAt, Killed, assert_same_run
from tinygrad_llm.cli.main import main
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.models.bert import BertConfig, BertForMaskedLM
from tinygrad_llm.recipes.comparison import fillers
from tinygrad_llm.recipes.costs import flops_per_token, num_parameters, peak_floats, resized
from tinygrad_llm.recipes.kinds import KINDS, masking_of
from tinygrad_llm.recipes.pretrain import pretrain
from tinygrad_llm.recipes.settings import Settings, preset, read_settings
from tinygrad_llm.text import ByteTokenizer
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.masking import IGNORE
from tinygrad_llm.training.optimizer import AdamW

TINY = {
    "tokenizer": "characters",
    "max_position_embeddings": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "batch_size": 3,
    "accumulation": 2,
    "steps": 20,
    "warmup": 5,
    "eval_every": 5,
    "save_every": 5,
    "sample_every": 10,
}


@pytest.fixture
def settings(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    return preset("bert").updated({**TINY, "data": [str(text)]})


@pytest.mark.parametrize("killed_at", [3, 13])
def test_a_killed_run_goes_on_bit_for_bit(settings, tmp_path, killed_at):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    pretrain(settings, whole)
    with pytest.raises(Killed):
        pretrain(settings, parts, reporter=KillAt(killed_at))
    stored = read_settings(str(parts / "settings.toml"), Settings())
    assert stored == settings
    pretrain(stored, parts, resume=True)
    assert_same_run(whole, parts)
    assert isinstance(load_model(parts), BertForMaskedLM)


def test_it_learns_words_that_repeat(settings, tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "batch_size": 64, "accumulation": 1}
    drop = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    plan = {"steps": 150, "lr": 5e-3, "initializer_range": 0.1, "eval_every": 150}
    longer = settings.updated({**sizes, **drop, **plan, "sample_every": 0})
    rows = fillers(pretrain(longer, tmp_path / "run").run)
    assert rows["this BERT"].nats < 2.5  # how often each character comes alone allows 3.1
    assert rows["trigrams, both sides"].accuracy > rows["trigrams, left side"].accuracy > 0.5


def test_what_is_hidden_follows_from_the_state_alone():
    tokens = Tokens.from_array(np.random.default_rng(0).integers(5, 18, size=500))

    def batches():
        rng = np.random.default_rng(1)
        return KINDS["bert"].batches(tokens, WORDPIECE, batch_size=4, context=12, rng=rng)

    one = batches()
    drawn = [next(one) for _ in range(3)]
    state = one.state_dict()
    expected = [next(one) for _ in range(80)]  # into the next epoch
    other = batches()
    other.load_state_dict(state)
    for mine, theirs in zip([next(other) for _ in range(80)], expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    inputs, targets = drawn[0]
    special = WORDPIECE.special_tokens
    assert inputs.shape == targets.shape == (4, 12)
    assert (inputs[:, 0] == special["[CLS]"]).all() and (inputs[:, -1] == special["[SEP]"]).all()
    assert (targets[:, [0, -1]] == IGNORE).all() and (targets != IGNORE).any()


def test_held_out_places_are_the_same_each_time_and_behind_the_mask():
    tokens = Tokens.from_array(np.random.default_rng(0).integers(5, 18, size=500))

    def parts():
        return list(KINDS["bert"].windows(tokens, WORDPIECE, batch_size=4, context=12))

    for (inputs, targets), (again, _) in zip(parts(), parts(), strict=True):
        np.testing.assert_array_equal(inputs, again)
        hidden = targets != IGNORE
        assert (inputs[hidden] == WORDPIECE.special_tokens["[MASK]"]).all()


def test_a_tokenizer_that_can_hide_nothing():
    with pytest.raises(InputError, match=r"no \[MASK\]"):
        masking_of(ByteTokenizer())


def test_a_context_that_is_all_ends():
    tokens = Tokens.from_array(np.arange(5, 18))
    with pytest.raises(InputError, match="max_position_embeddings 2"):
        KINDS["bert"].windows(tokens, WORDPIECE, batch_size=4, context=2)


def test_another_model_brings_its_own_settings():
    settings = Settings().assigned(["hidden_size=8", "model=bert", "num_attention_heads=2"])
    assert settings.model == BertConfig(hidden_size=8, num_attention_heads=2)
    with pytest.raises(InputError, match="unknown setting 'n_head'"):
        settings.updated({"n_head": 2})
    with pytest.raises(InputError, match="did you mean 'bert'"):
        Settings().updated({"model": "berd"})
    with pytest.raises(InputError, match="unknown model"):
        Settings().updated({"model": ["bert"]})
    with pytest.raises(InputError, match="has no GPTConfig"):
        Settings(run=settings.run)


CONFIG = BertConfig(50, 24, 2, 4, 40, 32, type_vocab_size=3)


def test_the_formula_counts_what_the_model_has():
    model = BertForMaskedLM(CONFIG, rng=np.random.default_rng(0))
    assert num_parameters(CONFIG) == model.num_parameters()
    assert flops_per_token(CONFIG) > 6 * 2 * (4 * 24**2 + 2 * 24 * 40)
    assert resized(CONFIG, 5).num_hidden_layers == 5 and resized(CONFIG, 0).hidden_size == 4


def test_memory_of_a_step_is_as_forecast():
    """Counted by tracemalloc, in a thread that has no memory of earlier steps."""
    config = BertConfig(300, 192, 4, 4, 768, 128)
    train_two_steps(resized(config, 0))  # loads Numba, which takes memory too
    with ThreadPoolExecutor(1) as fresh:
        tracemalloc.start()
        try:
            fresh.submit(train_two_steps, config).result()
            measured = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert 0.85 * measured < 4 * peak_floats(config, 8) < 1.15 * measured


def train_two_steps(config):
    kind, rng = KINDS["bert"], np.random.default_rng(0)
    model = kind.build(config, rng=rng)
    optimizer = AdamW(model.parameters())
    ids = rng.integers(config.vocab_size, size=(8, config.n_positions + 1))
    batch = kind.trial(ids, config.vocab_size)
    for _ in range(2):
        train_step(model, kind.objective, optimizer, [batch], lr=1e-3, clip=1.0, rng=rng)


def test_the_command_trains_and_fills(settings, tmp_path, capsys):
    run = str(tmp_path / "run")
    flags = [f"--set={key}={value}" for key, value in TINY.items()]
    argv = ["pretrain", "--preset=bert", "--data", *settings.run.data, "--out", run, *flags]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "trigrams, both sides" in out and "fill-mask" in out
    assert main(["pretrain", "--out", run, "--resume", "--steps=25"]) == 0
    capsys.readouterr()
    assert main(["pretrain", "--out", run, "--resume", "--set=model=gpt"]) == 2
    assert "cannot change model from 'bert' to 'gpt'" in capsys.readouterr().err
    assert main(["fill-mask", run, "the qu[MASK]ck"]) == 0
    assert capsys.readouterr().out.count("%") > 4
    assert main(["generate", run, "--prompt", "the"]) == 2
    assert "does not predict the next token" in capsys.readouterr().err

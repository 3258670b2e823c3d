"""The settings of a run: what no value of theirs may be, said before any work begins."""

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.recipes.settings import LEAST, Settings, preset, read_settings
from tinygrad_llm.recipes.translation_settings import TranslationSettings


@pytest.mark.parametrize("name", LEAST)
def test_a_value_below_the_least_is_refused_and_the_least_is_not(name):
    least = LEAST[name]
    with pytest.raises(InputError, match=f"{name} is -?[0-9.]+; it must be a number from {least}"):
        settings_with(name).updated({name: least - 1})
    assert settings_with(name).updated({name: least}).flat()[name] == least


def settings_with(name):
    """Those of pretraining, or of translation, whichever have this name."""
    return next(s for s in (preset("default"), TranslationSettings()) if name in s.flat())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_learning_rate_is_a_finite_number(value):
    with pytest.raises(InputError, match="lr is"):
        Settings().assigned([f"lr={value}"])
    assert Settings().assigned(["lr=1e30"]).schedule.lr == 1e30


def test_the_betas_are_below_one():
    for name in ("beta1", "beta2"):
        with pytest.raises(InputError, match=f"{name} is 1.0; it must be below 1"):
            Settings().assigned([f"{name}=1"])


def test_texts_of_every_kind_are_read_back_from_toml(tmp_path):
    settings = preset("default").updated({"tokenizer": 'a "b" \\c\n\x7f\x01 é \U0001f600'})
    path = tmp_path / "settings.toml"
    path.write_text(settings.to_toml(), "utf-8")
    assert read_settings(str(path), preset("default")) == settings
    with pytest.raises(InputError, match="tokenizer = .* is not UTF-8; rename the file"):
        settings.updated({"tokenizer": "\udce9.json"}).to_toml()

"""Settings from a TOML file, which may be any file, and shapes of models without a meaning."""

from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from tinygrad_llm import config
from tinygrad_llm.config import check_shape, from_mapping, read_toml
from tinygrad_llm.errors import InputError


def test_a_toml_file_is_read_and_what_is_none_is_named(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("steps = 3\n")
    assert read_toml(path) == {"steps": 3}
    for content in (b"steps = ", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="a.toml is not valid TOML"):
            read_toml(path)
    for wrong in (tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(InputError, match=f"cannot read {wrong}"):
            read_toml(wrong)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "MAX_TOML_BYTES", 100)
    (tmp_path / "a.toml").write_text("#" * 101)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        read_toml(tmp_path / "a.toml")


@dataclass(frozen=True)
class Shape:
    heads: int = 4
    pad_token_id: int = 0
    attention_dropout: float = 0.0
    norm_eps: float = 1e-5


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({}, None),
        ({"attention_dropout": 0}, None),  # JSON writes 0.0 as 0
        ({"heads": 0}, "heads is 0; it must be at least 1"),
        ({"pad_token_id": -1}, "pad_token_id is -1; it must be at least 0"),
        ({"attention_dropout": 1.0}, r"attention_dropout 1.0 is not in \[0, 1\)"),
        ({"attention_dropout": float("nan")}, "attention_dropout nan is not in"),
    ],
)
def test_shapes_without_a_meaning(values, complaint):
    with pytest.raises(InputError, match=complaint) if complaint else nullcontext():
        check_shape(Shape(**values))


@pytest.mark.parametrize(
    "values", [{"norm_eps": 10**400}, {"heads": "x" * 10**6}, {"y" * 10**6: 1}], ids=("a", "b", "c")
)
def test_what_a_file_holds_makes_one_line_however_long_it_is(values):
    with pytest.raises(InputError, match="not of type|unknown setting") as caught:
        from_mapping(Shape, values)
    assert len(str(caught.value)) < 250

"""All settings of a pretraining run under one roof: each key lives in one dataclass, with its
default.

The command line's --set, a TOML file and the run folder's settings.toml speak of the same flat
keys.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tinygrad_llm.config import from_mapping, parse_assignment, read_toml
from tinygrad_llm.errors import InputError, suggest
from tinygrad_llm.models import bert, gpt
from tinygrad_llm.models.bert import BertConfig
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.training.loop import LoopConfig
from tinygrad_llm.training.optimizer import AdamWConfig
from tinygrad_llm.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class RunConfig:
    """What to train, on what, and what to do between the steps."""

    model: str = "gpt"  # gpt, or bert: a masked language model
    data: tuple[str, ...] = ()  # files, folders, globs, "-"; empty: Python's language reference
    tokenizer: str = "bpe"  # bpe, characters, bytes, or the path of a tokenizer.json
    validation: float = 0.1  # the last part of the text is held out
    eval_every: int = 250  # steps between evaluations on the whole held-out text
    save_every: int = 250  # steps between checkpoints
    sample_every: int = 500  # steps between samples; 0 for none
    patience: int = 0  # stop after so many evaluations without a better loss; 0 for never
    seed: int = 1  # of the weights, the batches, dropout and the samples

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise InputError(f"validation {self.validation} is not between 0 and 1")


CONFIGS = {"gpt": GPTConfig, "bert": BertConfig}
MODELS = gpt.PRESETS | bert.PRESETS
LEAST = {  # the smallest value with a meaning; sizes of the model have checks of their own
    **dict.fromkeys(("steps", "batch_size", "accumulation", "eval_every", "save_every"), 1),
    **dict.fromkeys(("batch_tokens", "average"), 1),
    **dict.fromkeys(("sample_every", "patience", "seed", "warmup", "label_smoothing"), 0),
    **dict.fromkeys(("clip", "lr", "min_lr", "eps", "weight_decay", "beta1", "beta2"), 0),
}
BELOW_1 = {"beta1", "beta2", "label_smoothing"}
S = TypeVar("S", bound="Groups")


@dataclass(frozen=True)
class Groups:
    """Settings in groups, each a dataclass; a flat key belongs to exactly one of them."""

    def __post_init__(self) -> None:
        values = self.flat()
        for name in LEAST.keys() & values.keys():
            if not LEAST[name] <= values[name] < math.inf:
                raise InputError(
                    f"{name} is {values[name]}; it must be a number from {LEAST[name]} on"
                )
        for name in BELOW_1 & values.keys():
            if values[name] >= 1:
                raise InputError(f"{name} is {values[name]}; it must be below 1")

    def flat(self) -> dict[str, Any]:
        """Every key with its value."""
        groups = (getattr(self, f.name) for f in dataclasses.fields(self))
        return {key: value for group in groups for key, value in vars(group).items()}

    def updated(self: S, values: Mapping[str, Any], where: str = "") -> S:
        """These settings with other values for some flat keys, each checked against its field's
        type.
        """
        groups = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        home = {key: name for name, group in groups.items() for key in vars(group)}
        for key in values:
            if key not in home:
                raise suggest(key, home, f"setting{' in ' + where if where else ''}")
        for name, group in groups.items():
            own = {key: value for key, value in values.items() if home[key] == name}
            groups[name] = from_mapping(type(group), own, base=group, where=where)
        return type(self)(**groups)

    def assigned(self: S, assignments: list[str]) -> S:
        """These settings after `key=value` texts, as --set takes them."""
        groups = [getattr(self, f.name) for f in dataclasses.fields(self)]
        values = {}
        for text in assignments:
            key = text.partition("=")[0]
            owner = next((group for group in groups if key in vars(group)), None)
            if owner is None:
                raise suggest(key, self.flat(), "setting")
            values |= [parse_assignment(text, type(owner))]
        return self.updated(values)

    def to_toml(self) -> str:
        """The flat keys as TOML, which --config reads back; a key whose value is none is left
        out.
        """
        values = {key: value for key, value in self.flat().items() if value is not None}
        return "".join(f"{key} = {_toml(key, value)}\n" for key, value in values.items())


def _toml(key: str, value: Any) -> str:
    """TOML writes values as JSON does, but its texts know neither halves of characters nor DEL."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{key} = {value!r:.80} is not UTF-8; rename the file") from None
    return text


@dataclass(frozen=True)
class Settings(Groups):
    """The five groups of pretraining. Another `model` brings the defaults of its own sizes."""

    model: GPTConfig | BertConfig = field(default_factory=GPTConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    adamw: AdamWConfig = field(default_factory=AdamWConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, _config_of(self.run.model)):
            raise InputError(f"model {self.run.model!r} has no {type(self.model).__name__}")

    def updated(self, values: Mapping[str, Any], where: str = "") -> Settings:
        return Groups.updated(self._of_kind(values.get("model")), values, where)

    def assigned(self, assignments: list[str]) -> Settings:
        kinds = [text.partition("=")[2] for text in assignments if text.startswith("model=")]
        return Groups.assigned(self._of_kind(kinds[-1] if kinds else None), assignments)

    def _of_kind(self, kind: str | None) -> Settings:
        if kind in (None, self.run.model):
            return self
        run = dataclasses.replace(self.run, model=kind)
        return dataclasses.replace(self, model=_config_of(kind)(), run=run)


def _config_of(kind: str) -> type[GPTConfig | BertConfig]:
    if not isinstance(kind, str) or kind not in CONFIGS:
        raise suggest(str(kind), CONFIGS, "model")
    return CONFIGS[kind]


def read_settings(path: str, base: S) -> S:
    """`base` with the keys of a TOML file."""
    return base.updated(read_toml(path), where=str(path))


TRAINING = {
    "default": {"batch_size": 16, "steps": 1000, "lr": 3e-3, "dropout": 0.1},
    "bert": {
        "tokenizer": "characters",
        "batch_size": 64,
        "steps": 3000,
        "lr": 2e-3,
        "beta2": 0.98,
    },
    "char-cpu": {"tokenizer": "characters", "batch_size": 12, "steps": 2000},
    "baby": {"tokenizer": "characters", "batch_size": 8, "steps": 5000, "dropout": 0.2},
    "gpt2": {
        "batch_size": 4,
        "steps": 10000,
        "lr": 6e-4,
        "min_lr": 6e-5,
        "warmup": 700,
        "beta2": 0.95,
    },
}


def preset(name: str) -> Settings:
    """The settings of a named recipe; the sizes of GPT-2 share one way of training."""
    if name not in MODELS:
        raise suggest(name, MODELS, "preset")
    training = TRAINING["gpt2" if name.startswith("gpt2") else name]
    model = MODELS[name]
    kind = next(kind for kind, config in CONFIGS.items() if isinstance(model, config))
    base = Settings(model=model, run=RunConfig(model=kind))
    return base.updated(training)

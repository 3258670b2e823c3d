"""GenerationConfig: how a text is continued, and its file generation_config.json.

Field names are those of transformers' GenerationConfig, and transformers reads the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygrad_llm.config import from_mapping
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.inference import sampling

FILE, MODEL_FILE = "generation_config.json", "config.json"
DRAWING = ("temperature", "top_k", "top_p")
TOP_K = 50  # transformers draws from so many tokens where its file says nothing
WITHOUT_EFFECT = {  # keys of transformers' file that change no token here
    "_from_model_config",
    "transformers_version",
    "bos_token_id",
    "pad_token_id",
    "use_cache",
    "max_length",
    "early_stopping",
    "cache_implementation",
    "return_dict_in_generate",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
}
RANGES = sampling.RANGES | {
    "max_new_tokens": (int, "above 0", lambda x: x > 0),
    "num_beams": (int, "above 0", lambda x: x > 0),
    "length_penalty": (float, "from -10 to 10", lambda x: -10 <= x <= 10),
}


@dataclass(frozen=True)
class GenerationConfig:
    """The settings of one continuation; InputError for a value outside its range."""

    max_new_tokens: int = 100  # the text ends after so many
    temperature: float = 1.0  # logits are divided by it; 0 always takes the best token
    top_k: int = 0  # draw from so many of the best tokens; 0 for all
    top_p: float = 1.0  # draw from the fewest tokens of this probability together
    repetition_penalty: float = 1.0  # above 1, tokens that stand already become less likely
    num_beams: int = 1  # above 1, search with so many beams instead of drawing
    length_penalty: float = 1.0  # a beam's score is log p / length^penalty; larger favours longer
    eos_token_id: int | tuple[int, ...] | None = None  # the text ends with this id, or one of these
    stop_strings: tuple[str, ...] = ()  # the text ends before the first of these

    def __post_init__(self) -> None:
        for name in RANGES:
            sampling.check_range(name, getattr(self, name), RANGES)
        if any(type(token) is not int or token < 0 for token in self.eos_ids):
            raise InputError(f"eos_token_id is {self.eos_token_id!r:.40}; it must be ids")
        stops = self.stop_strings
        if isinstance(stops, str) or not all(isinstance(stop, str) and stop for stop in stops):
            raise InputError(f"stop_strings is {stops!r:.40}; it must be texts, none of them empty")

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The ids that end a text."""
        if isinstance(self.eos_token_id, tuple):
            return self.eos_token_id
        return () if self.eos_token_id is None else (self.eos_token_id,)


def save_generation_config(folder: str | Path, config: GenerationConfig) -> None:
    """Write generation_config.json into the folder, in one step."""
    write_atomic(Path(folder) / FILE, json.dumps(to_document(config), indent=2) + "\n")


def load_generation_config(folder: str | Path) -> GenerationConfig:
    """What the folder's generation_config.json says; where there is no such file the defaults, with
    the end that config.json names.
    """
    path, read = Path(folder) / FILE, from_document
    if not path.exists():
        path, read = Path(folder) / MODEL_FILE, _ends_of_model
    if not path.exists():
        return GenerationConfig()
    document = read_json_object(path)
    try:
        return read(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def to_document(config: GenerationConfig) -> dict[str, Any]:
    """The file's object. transformers draws if do_sample is true, and wants no temperature of 0."""
    do_sample = config.temperature > 0 and config.num_beams == 1
    values = {
        key: value
        for key, value in vars(config).items()
        if value not in (None, ()) and (do_sample or key not in DRAWING)
    }
    return {"do_sample": do_sample, **values}


def from_document(document: Mapping[str, Any]) -> GenerationConfig:
    """The settings that the file means to transformers; what is not implemented is refused."""
    values = {
        key: value
        for key, value in document.items()
        if key not in WITHOUT_EFFECT and value is not None and value is not False
    }
    do_sample, beams = values.pop("do_sample", False), values.get("num_beams", 1)
    if do_sample and beams != 1:
        raise InputError("do_sample with num_beams above 1 is not implemented; remove one of them")
    if do_sample:
        values.setdefault("top_k", TOP_K)
    else:
        values = {key: value for key, value in values.items() if key not in DRAWING}
        values |= {"temperature": 0.0} if beams == 1 else {}
    ends = _several(values.pop("eos_token_id", None))
    if isinstance(values.get("stop_strings"), str):
        values["stop_strings"] = (values["stop_strings"],)
    return replace(from_mapping(GenerationConfig, values), eos_token_id=ends)


def _ends_of_model(document: Mapping[str, Any]) -> GenerationConfig:
    """The defaults, with the ids that a model's config.json says a text ends with. Those of an
    encoder-decoder are no business of this file: its model has them.
    """
    if document.get("is_encoder_decoder") is True:
        return GenerationConfig()
    return GenerationConfig(eos_token_id=_several(document.get("eos_token_id")))


def _several(ids: Any) -> Any:
    return tuple(ids) if isinstance(ids, list) else ids

"""SentenceConfig: which state is the vector of a text, and how much of a text counts.

The files are those of Sentence Transformers (Reimers and Gurevych 2019, arXiv 1908.10084):
modules.json lists what follows the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinygrad_llm.config import from_mapping
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json, read_json_object

MODULES, POOLING, LENGTH = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
POOLINGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
FILES = (MODULES, POOLING, LENGTH)
STEPS = ("Transformer", "Pooling", "Normalize")
KEYS = ("max_seq_length", "do_lower_case")


@dataclass(frozen=True)
class SentenceConfig:
    """InputError for a pooling that is not implemented, or a length that holds no text."""

    pooling: str = "mean"  # of a text's states; "cls" takes the first
    max_seq_length: int | None = None  # tokens that count, [CLS] and [SEP] among them; none: all
    do_lower_case: bool = False  # before the tokenizer

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise InputError(f"pooling {self.pooling!r:.40} is not implemented; mean and cls are")
        if self.max_seq_length is not None and self.max_seq_length < 3:
            raise InputError(f"max_seq_length is {self.max_seq_length}; a text needs 3 or more")


def load_sentence_config(folder: str | Path) -> SentenceConfig:
    """What the folder's files say; the defaults where there is no modules.json.

    InputError where vectors are made in a way that is not implemented, with a further layer for
    instance: without it they would be wrong.
    """
    folder = Path(folder)
    if not (folder / MODULES).exists():
        return SentenceConfig()
    _check_steps(folder / MODULES)
    values = {"pooling": _pooling(folder / POOLING)}
    if (folder / LENGTH).exists():
        document = read_json_object(folder / LENGTH)
        values |= {key: document[key] for key in KEYS if key in document}
    return from_mapping(SentenceConfig, values, where=str(folder / LENGTH))


def _check_steps(path: Path) -> None:
    steps = read_json(path)
    kinds = steps if isinstance(steps, list) else [steps]
    names = [str(step.get("type")) if isinstance(step, dict) else repr(step) for step in kinds]
    for name in names:
        if name.rpartition(".")[2] not in STEPS:
            raise InputError(
                f"{path}: {name:.60} is not implemented, so the model's vectors would be wrong; "
                f"{', '.join(STEPS)} are"
            )


def _pooling(path: Path) -> str:
    """The one way in which the file says that states are pooled."""
    document = read_json_object(path)
    flags = {key for key, value in document.items() if key.startswith("pooling_mode_") and value}
    for pooling, flag in POOLINGS.items():
        if flags == {flag} or (not flags and document.get("pooling_mode") == pooling):
            return pooling
    found = ", ".join(sorted(flags)) or repr(document.get("pooling_mode"))
    raise InputError(f"{path}: {found:.100} is not implemented; mean or cls alone is")

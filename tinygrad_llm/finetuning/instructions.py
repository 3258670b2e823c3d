"""Instructions and answers: files to examples, examples to tokens of which the answer's count.

Templates: Taori et al. 2023, github.com/tatsu-lab/stanford_alpaca; ChatML as SmolLM2 was trained on
it. A user's text never yields a special token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError, suggest
from tinygrad_llm.files import MAX_JSON_BYTES, parse_json, read_text
from tinygrad_llm.finetuning.epochs import Epochs
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.streams import well_formed
from tinygrad_llm.training.objectives import IGNORE

FIELDS = ("instruction", "input", "output")
OPTIONAL = "input"
TRAINING, TEST = 0.85, 0.10  # shares of the examples; those that are left validate

Record = dict[str, str]


def read_records(path: str | Path, fields: Sequence[str] = FIELDS) -> list[Record]:
    """The examples of a JSON file that holds a list of objects, or of JSON lines.

    Every object has the fields, texts that are not empty but for `input`, which may be missing,
    empty or null; further keys are left out. InputError says which line or entry is wrong, and what
    it needs.
    """
    text = read_text(path, max_bytes=MAX_JSON_BYTES)
    records = [_checked(value, place, fields) for place, value in _values(text, path)]
    if not records:
        raise InputError(f"{path} holds no examples; give a list of objects with {_all(fields)}")
    return records


def _values(text: str, path: str | Path) -> Iterator[tuple[str, object]]:
    """Each example, with the words that say where it stands."""
    if text.lstrip().startswith("["):
        entries = _parse(text, str(path))
        yield from ((f"{path}, entry {i}", entry) for i, entry in enumerate(entries, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", _parse(line, f"{path}, line {number}")


def _parse(text: str, name: str) -> object:
    try:
        return parse_json(text.encode(), name)
    except InputError as error:
        raise InputError(
            f"{error}; mend it there (a file is one list of objects, or one object a line)"
        ) from None


def _checked(value: object, place: str, fields: Sequence[str]) -> Record:
    if not isinstance(value, dict):
        raise InputError(f"{place} is {value!r:.60}, not an object with {_all(fields)}")
    record = {}
    for field in fields:
        if field not in value and field != OPTIONAL:
            there = ", ".join(map(repr, value)) or "nothing"
            raise InputError(f"{place} has no {field!r} but {there:.100}; it needs {_all(fields)}")
        text = value.get(field)
        if text is None and field == OPTIONAL:
            text = ""
        if not isinstance(text, str):
            raise InputError(f"{place}: {field} is {text!r:.60}, not a text")
        if not text.strip() and field != OPTIONAL:
            raise InputError(f"{place}: {field} is empty; fill it in or remove the entry")
        record[field] = well_formed(text)
    return record


def _all(fields: Sequence[str]) -> str:
    return f"{', '.join(fields[:-1])} and {fields[-1]}"


class Split(NamedTuple):
    """Three parts of the records, which share none."""

    training: list[Record]
    test: list[Record]
    validation: list[Record]


def split(records: Sequence[Record]) -> Split:
    """In the order of the file: 85% to train on, then 10% to test, the rest to validate."""
    first = int(len(records) * TRAINING)
    second = first + int(len(records) * TEST)
    parts = Split(list(records[:first]), list(records[first:second]), list(records[second:]))
    if not all(parts):
        raise InputError(
            f"{len(records)} examples make parts of {', '.join(str(len(p)) for p in parts)} to "
            "train, test and validate, but none may be empty; give 10 examples or more"
        )
    return parts


class Special(str):
    """The name of a special token, where a template has one."""


class Template(NamedTuple):
    """How an instruction is put: the parts before the answer, and the token that ends it."""

    name: str
    prompt: Callable[[Mapping[str, str]], list[str]]
    end: Special


def _alpaca(record: Mapping[str, str]) -> list[str]:
    given = record.get("input", "")
    task = "an instruction that describes a task"
    if given:
        task += ", paired with an input that provides further context"
        given = f"### Input:\n{given}\n\n"
    return [
        f"Below is {task}. Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{record['instruction']}\n\n{given}### Response:\n"
    ]


def _chatml(record: Mapping[str, str]) -> list[str]:
    given = record.get("input", "")
    user = record["instruction"] + (f"\n\n{given}" if given else "")
    start, end = Special("<|im_start|>"), Special("<|im_end|>")
    return [start, f"user\n{user}", end, "\n", start, "assistant\n"]


TEMPLATES = {
    "alpaca": Template("alpaca", _alpaca, Special("<|endoftext|>")),
    "chatml": Template("chatml", _chatml, Special("<|im_end|>")),
}


def choose_template(tokenizer: Tokenizer, name: str | None = None) -> Template:
    """The template of this name, or by default ChatML where the tokenizer has its tokens, else
    Alpaca. InputError where the tokenizer lacks a token that the template needs.
    """
    if name is None:
        name = "chatml" if TEMPLATES["chatml"].end in tokenizer.special_tokens else "alpaca"
    if name not in TEMPLATES:
        raise suggest(name, TEMPLATES, "template")
    template = TEMPLATES[name]
    for part in [*template.prompt({"instruction": ""}), template.end]:
        if isinstance(part, Special) and part not in tokenizer.special_tokens:
            raise InputError(
                f"the template {name} needs the special token {part}, which this tokenizer "
                "has not; choose another template or base"
            )
    return template


class Encoded(NamedTuple):
    """An example as tokens. ids (N,): prompt, answer and end. first: where the answer begins."""

    ids: np.ndarray
    first: int


def encode_prompt(tokenizer: Tokenizer, template: Template, record: Mapping[str, str]) -> list[int]:
    """The ids of all that stands before the answer."""
    ids: list[int] = []
    for part in template.prompt(record):
        special = isinstance(part, Special)
        ids += [tokenizer.special_tokens[part]] if special else tokenizer.encode(part)
    return ids


def encode_example(
    tokenizer: Tokenizer, template: Template, record: Mapping[str, str], answer: str = "output"
) -> Encoded:
    """A record as tokens. answer: the field that holds the answer."""
    prompt = encode_prompt(tokenizer, template, record)
    end = tokenizer.special_tokens[template.end]
    ids = [*prompt, *tokenizer.encode(record[answer]), end]
    return Encoded(np.array(ids, np.int64), len(prompt))


def pad(examples: Sequence[Encoded], width: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets (B, T), T that of the longest or `width`; -100 where no answer is due.

    A target is the token after its input. Padding stands behind the text, where a model that looks
    back never sees it.
    """
    length = max(width, *(len(example.ids) - 1 for example in examples))
    inputs = np.zeros((len(examples), length), np.int64)
    targets = np.full((len(examples), length), IGNORE, np.int64)
    for row, (ids, first) in enumerate(examples):
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, first - 1 : len(ids) - 1] = ids[first:]
    return inputs, targets


def epochs(examples: Sequence[Encoded], *, batch_size: int, rng: np.random.Generator) -> Epochs:
    """Endless padded batches of the examples, those of like length together."""
    lengths = [len(example.ids) for example in examples]
    return Epochs(
        lengths, lambda some: pad([examples[i] for i in some]), batch_size=batch_size, rng=rng
    )

"""Texts with labels, from TSV, CSV or JSON lines; balanced, split in three, and numbered.

The first line of a table names its columns. In a TSV file a quotation mark is an ordinary
character, in a CSV file it is as RFC 4180 has it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import parse_json, read_text
from tinygrad_llm.text.streams import well_formed

TEXT_NAMES = ("text", "sms", "message", "sentence", "review", "content", "question", "body")
LABEL_NAMES = ("label", "class", "category", "sentiment", "target", "answer")
MAX_BYTES = 1 << 30
MAX_FIELD = 1 << 24  # characters of one field of a table


class Labelled(NamedTuple):
    """Texts, and the label of each."""

    texts: list[str]
    labels: list[str]

    def chosen(self, numbers: Iterable[int]) -> Labelled:
        """The examples of these numbers, in their order."""
        numbers = list(numbers)
        return Labelled([self.texts[i] for i in numbers], [self.labels[i] for i in numbers])


class Split(NamedTuple):
    """The three parts of the examples, and all labels in order."""

    training: Labelled
    validation: Labelled
    test: Labelled
    names: tuple[str, ...]

    def numbers(self, part: Labelled) -> np.ndarray:
        """The number of each label of a part, (N,)."""
        number = {name: i for i, name in enumerate(self.names)}
        return np.array([number[label] for label in part.labels], np.int64)


def read_labelled(
    path: str | Path, *, text_column: str | None = None, label_column: str | None = None
) -> Labelled:
    """The examples of a .tsv, .csv or .jsonl file.

    Columns that are not named are guessed from TEXT_NAMES and LABEL_NAMES. InputError with the line
    for what is no UTF-8, no table or JSON, has no such column, no text, or no second label.
    """
    path = Path(path)
    readers = {".tsv": _tsv_rows, ".csv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is not a .tsv, .csv or .jsonl file, which are read here")
    found = Labelled([], [])
    columns = None
    text = read_text(path, max_bytes=MAX_BYTES)
    for line, row in readers[path.suffix.lower()](path, text):
        if columns is None:
            columns = _columns(path, row, text_column, label_column)
        for name, values in zip(columns, found, strict=True):
            values.append(_field(path, line, row, name))
    if not found.texts:
        raise InputError(f"{path} holds no example; after the names of the columns, give some")
    if len(set(found.labels)) == 1:
        raise InputError(
            f"{path}: all {len(found.labels):,} examples have the label {found.labels[0]!r:.40}; "
            "a classifier needs examples of two labels or more"
        )
    return found


def _tsv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    numbered = ((i, line.split("\t")) for i, line in enumerate(lines, 1) if line)
    return _table(path, numbered)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def numbered() -> Iterator[tuple[int, list[str]]]:
        line, limit = 1, csv.field_size_limit(MAX_FIELD)
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{path}, line {line} is not CSV: {error}; mend it there, or remove the line"
            ) from None
        finally:
            csv.field_size_limit(limit)

    return _table(path, numbered())


def _table(
    path: Path, numbered: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    _, names = next(numbered, (1, []))
    if twice := next((name for name, n in Counter(names).items() if name and n > 1), None):
        raise InputError(
            f"{path} has two columns {twice!r:.60}; give each a name of its own in the first line"
        )
    for line, fields in numbered:
        if len(fields) != len(names):
            raise InputError(
                f"{path}, line {line} has {len(fields)} columns, but the first line names "
                f"{len(names)}: {', '.join(names):.80}"
            )
        yield line, dict(zip(names, fields, strict=True))


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = parse_json(line.encode(), f"{path}, line {number}")
            except InputError as error:
                raise InputError(f"{error}; mend the line or remove it") from None
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}, line {number} is no JSON object but {line:.40}; write each example "
                    'in a line of its own, such as {"text": "...", "label": "..."}'
                )
            yield number, row


def _columns(path: Path, row: Mapping[str, Any], *wanted: str | None) -> list[str]:
    """The names of the two columns, text and label, in this file."""
    found = []
    for flag, name, known in zip(("text", "label"), wanted, (TEXT_NAMES, LABEL_NAMES), strict=True):
        fitting = [key for key in row if key == name or name is None and key.lower() in known]
        if len(fitting) != 1:
            several = f"{len(fitting)} columns that may be the {flag}"
            raise InputError(
                f"{path} has {f'no column {name!r}' if name else several}; it has "
                f"{', '.join(row):.120}: name one with --{flag}-column"
            )
        found += fitting
    if found[0] == found[1]:
        raise InputError(
            f"{path}: {found[0]!r:.60} would be the text and the label; it has "
            f"{', '.join(row):.120}: name two with --text-column and --label-column"
        )
    return found


def _field(path: Path, line: int, row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        raise InputError(f"{path}, line {line} has no {name!r}; it has {', '.join(row):.80}")
    value = row[name]
    if isinstance(value, (dict, list)) or value is None:
        raise InputError(f"{path}, line {line}: {name!r} is {value!r:.40}, not a text")
    text = well_formed(str(value)).strip()
    if not text:
        raise InputError(f"{path}, line {line}: {name!r} is empty; fill it in or remove the line")
    return text


def balanced(examples: Labelled, rng: np.random.Generator) -> Labelled:
    """As many examples of each label as the rarest has, drawn by the generator, in file order."""
    places: dict[str, list[int]] = {}  # an array of texts would be as wide as the longest
    for i, label in enumerate(examples.labels):
        places.setdefault(label, []).append(i)
    least = min(map(len, places.values()))
    chosen = [rng.permutation(places[name])[:least] for name in sorted(places)]
    return examples.chosen(np.sort(np.concatenate(chosen)).tolist())


def split(
    examples: Labelled, rng: np.random.Generator, *, validation: float = 0.1, test: float = 0.2
) -> Split:
    """The examples shuffled and cut in three; the first 1 - validation - test are trained on.

    InputError where a part is empty or holds a label that the training part lacks.
    """
    size = len(examples.texts)
    first = round(size * (1 - validation - test))
    second = round(size * (1 - test))
    order = rng.permutation(size).tolist()
    parts = [examples.chosen(order[a:b]) for a, b in ((0, first), (first, second), (second, size))]
    for part, name in zip(parts, ("training", "validation", "test"), strict=True):
        if not part.texts:
            raise InputError(
                f"of {size} examples none is left for {name}; give more, or other shares of "
                f"validation ({validation:g}) and test ({test:g})"
            )
        unseen = sorted(set(part.labels) - set(parts[0].labels))
        if unseen:
            raise InputError(
                f"the label {unseen[0]!r:.40} is in the {name} part but in none of the {first} "
                "examples trained on; give more examples of it, or another --seed"
            )
    return Split(*parts, tuple(sorted(set(parts[0].labels))))


def class_weights(numbers: np.ndarray, labels: int) -> np.ndarray:
    """(C,): what an example of each label weighs so that all labels weigh the same, 1 on average.

    numbers (N,): the labels' numbers.
    """
    counts = np.bincount(numbers, minlength=labels)
    return len(numbers) / (labels * np.maximum(counts, 1))


def majority(numbers: Sequence[int], test_numbers: Sequence[int]) -> float:
    """The accuracy of always naming the label that is most frequent in the training part."""
    best = np.bincount(numbers).argmax()
    return float(np.mean(np.asarray(test_numbers) == best))

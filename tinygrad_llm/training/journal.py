"""log.jsonl: one JSON object a line, appended as training goes, cut back to the checkpoint when it
resumes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import parse_json, write_atomic

FILE = "log.jsonl"


class Journal:
    """Appends to `folder`/log.jsonl. Every line has a "step"; lines after `step` are dropped when
    it opens.
    """

    def __init__(self, folder: Path, step: int):
        self.path = folder / FILE
        kept = [row for row in read_journal(folder) if row["step"] <= step] if step else []
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = open(self.path, "a", encoding="utf-8")

    def write(self, **row: Any) -> None:
        """Append one line and hand it to the system at once."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """All rows; a last line that a kill cut short is left out."""
    path = folder / FILE
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    rows = [parse_json(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise InputError(f"{path}, line {number} has no step; remove the line")
    return rows

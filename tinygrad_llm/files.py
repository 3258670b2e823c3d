"""Files that survive a kill, written whole or not at all; and JSON from strangers, read within
caps.

`json` alone accepts NaN, duplicate keys and nesting that overflows the stack: every JSON file is
read here.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tinygrad_llm.errors import InputError

MAX_JSON_BYTES = 64 << 20
MAX_JSON_DEPTH = 64
# A string to its end, or to the content's. Possessive (*+): nothing is kept to go back to, which
# takes a hundred bytes for each of the string's and, where it never ends, time by the square.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def write_atomic(path: str | Path, write: Callable[[Path], object] | bytes | str) -> None:
    """Give `path` its new content in one step: temporary file, fsync, rename, fsync of the folder.

    `write` is the content, or a function that writes it to the path it is given. A process that is
    killed at any moment leaves the old file or the new one, never a part of either.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no ordinary file, and is not replaced; name another")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if callable(write):
            write(temporary)
        else:
            temporary.write_bytes(write.encode() if isinstance(write, str) else write)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_text(path: str | Path, *, max_bytes: int) -> str:
    """The UTF-8 text in the file `path`, without a byte order mark.

    InputError where it is missing or larger than that, and with the line that is not UTF-8.
    """
    content = _read_bytes(Path(path), max_bytes, "give a part of it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line} is not UTF-8 (byte {error.start:,} of the file); save it as UTF-8"
        ) from None


def read_json(path: str | Path, *, max_bytes: int = MAX_JSON_BYTES) -> object:
    """The JSON value in the file `path`; InputError where it is missing, too large or not JSON."""
    return parse_json(_read_bytes(Path(path), max_bytes, "is it the right file?"), str(path))


def _read_bytes(path: Path, max_bytes: int, remedy: str) -> bytes:
    """The whole file; InputError where it is missing or larger."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            size = found.st_size if stat.S_ISREG(found.st_mode) else max_bytes  # of a pipe: unknown
            content = file.read(min(size, max_bytes) + 1)  # takes memory for so many
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > max_bytes:
        raise InputError(f"{path} is larger than {max_bytes:,} bytes; {remedy}")
    return content


def read_json_object(path: str | Path, *, max_bytes: int = MAX_JSON_BYTES) -> dict:
    """`read_json` for a file that must hold an object: `{...}`."""
    value = read_json(path, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}; an object {{...}} is needed")
    return value


def parse_json(content: bytes, name: str) -> object:
    """Strict JSON: UTF-8, no NaN, no key twice, at most 64 levels. `name` stands in the errors."""
    depth = 0
    for bracket in _STRINGS.sub(b"", content).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise InputError(f"{name}: JSON nested more than {MAX_JSON_DEPTH} levels deep")
    try:
        return json.loads(content.decode(), parse_constant=_refuse, object_pairs_hook=_unique)
    except ValueError as error:
        raise InputError(f"{name} is not valid JSON: {error}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _unique(pairs: list[tuple[str, object]]) -> dict:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        first = next(value for key, value in pairs if key == twice)
        raise ValueError(f"the key {twice!r:.60} stands twice in one object, once as {first!r:.60}")
    return result

"""Where text comes from: files, folders, globs, standard input, and the manual that Python carries.

Everything is a stream of strings; nothing here knows tokens.
"""

from __future__ import annotations

import codecs
import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinygrad_llm.errors import InputError

BLOCK = 1 << 20  # bytes read at a time
SUFFIXES = {".txt", ".text", ".md", ".rst", ".py", ".html", ".tex"}  # what a folder is searched for


def embedded_corpus() -> str:
    """The English text of Python's language reference, about 465,000 characters, in a fixed order."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError("this Python carries no pydoc_data.topics, the corpus that needs no download; "
                         "name a text with --data") from error
    return "\n\n".join(topics[name] for name in sorted(topics))


def find_files(paths: Sequence[str]) -> list[Path]:
    """The files that the paths name, in order; "-" stands for standard input.

    A folder gives its text files, a pattern what it matches. A path that gives nothing is an InputError.
    """
    files: list[Path] = []
    for path in paths:
        found = _files_of(path)
        if not found:
            raise InputError(f"{path}: no such file, folder or pattern" if not Path(path).is_dir() else
                             f"{path} holds no text file ({' '.join(sorted(SUFFIXES))}); name the files")
        files += found
    for file in files:
        if str(file) != "-":
            _check_text(file)
    return files


def read_texts(paths: Sequence[str]) -> Iterator[str]:
    """The text of all paths as strings of about a million characters, one file after another.

    Every path is checked before the first string comes. A file that is not UTF-8 is an InputError that
    names the byte; so is a corpus without a character.
    """
    files, empty = find_files(paths), True
    for file in files:
        for text in _read(file):
            empty = empty and not text
            yield text
    if empty:
        raise InputError(f"{', '.join(map(str, paths))}: there is no text in it")


def _files_of(path: str) -> list[Path]:
    if path == "-":
        return [Path("-")]
    if Path(path).is_dir():
        return sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if Path(path).exists():
        return [Path(path)]
    return sorted(Path(p) for p in glob.glob(path, recursive=True) if Path(p).is_file())


def _check_text(file: Path) -> None:
    try:
        with open(file, "rb") as stream:
            start = stream.read(8192)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    if b"\0" in start:
        raise InputError(f"{file} is a binary file (a zero byte at {start.index(0)}); give plain text in UTF-8")


def _read(file: Path) -> Iterator[str]:
    decoder, position = codecs.getincrementaldecoder("utf-8")(), 0
    stream = sys.stdin.buffer if str(file) == "-" else open(file, "rb")
    with stream:
        while True:
            block = stream.read(BLOCK)
            if b"\0" in block:
                raise InputError(f"{file} is a binary file (a zero byte at {position + block.index(0)}); "
                                 "give plain text in UTF-8")
            held = len(decoder.getstate()[0])
            try:
                yield decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise InputError(f"{file} is not UTF-8 at byte {position - held + error.start}; "
                                 "convert it, for instance with iconv") from error
            position += len(block)
            if not block:
                return

"""Text from files, folders, globs and standard input, a block at a time. Knows no tokenizer.

All text is UTF-8. What is not is refused, with the file and the byte where it goes wrong.
"""

from __future__ import annotations

import codecs
import contextlib
import glob
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

from tinygrad_llm.errors import InputError

Paths = str | os.PathLike | Iterable[str | os.PathLike]

BLOCK = 1 << 20  # bytes
STDIN = "-"
SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex")


def read_texts(paths: Paths) -> Iterator[str]:
    """The text of all `paths` as one, in parts of up to a megabyte; see `read_documents`."""
    return chain.from_iterable(read_documents(paths))


def read_documents(paths: Paths) -> Iterator[Iterator[str]]:
    """For each file of `find_files(paths)` its text, in parts of up to a megabyte.

    Line ends stay as they are; a byte order mark at the start of a file is dropped. Every regular
    file is read once before this returns, so a bad one is found before any work is done: InputError
    for a missing path, a file that is not UTF-8 text, and a corpus without a character. Standard
    input and pipes can only be read once, so those errors come up while they are read.
    """
    files = find_files(paths)
    sizes = [sum(map(len, _read(file))) for file in files if not is_stream(file)]
    if len(sizes) == len(files) and not any(sizes):
        raise InputError(
            f"there is no text in {', '.join(files[:3])}"
            f"{' ...' if len(files) > 3 else ''}; name a file that holds some"
        )
    return map(_read, files)


def find_files(paths: Paths) -> list[str]:
    """The files that `paths` stand for, each once, in the order of the paths.

    A path is a file, "-" for standard input, a glob such as "books/**/*.txt", or a folder: then all
    files below it that end in one of `SUFFIXES`, sorted, without hidden ones. InputError for a path
    that stands for no file.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files: dict[str, str] = {}
    for path in map(os.fspath, paths):
        for file in _expand(path):
            files.setdefault(os.path.realpath(file), file)
    if not files:
        raise InputError("no path was given; name a file, a folder, a glob or - for standard input")
    return list(files.values())


def _expand(path: str) -> list[str]:
    if os.path.isdir(path):
        return _files_below(path)
    if path == STDIN or os.path.exists(path):
        return [path]
    files = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
    if not files:
        raise InputError(
            f"no file matches {path}; check its spelling"
            if glob.has_magic(path)
            else f"{path or 'the empty path'} does not exist; check the path"
        )
    return files


def _files_below(folder: str) -> list[str]:
    files = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [
            os.path.join(parent, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    files = sorted(filter(os.path.isfile, files))
    if not files:
        raise InputError(
            f"no file below {folder} ends in {', '.join(SUFFIXES)}; "
            "name the files themselves, or a glob"
        )
    return files


def _refuse_folder(error: OSError) -> None:
    raise InputError(f"cannot read the folder {error.filename}: {error.strerror}") from error


def is_stream(path: str) -> bool:
    """Can `path` only be read once, as standard input or a pipe?"""
    here = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    return path == STDIN or here


def _read(file: str) -> Iterator[str]:
    """The text of one file in parts of up to `BLOCK` bytes."""
    name, empty = ("standard input" if file == STDIN else file), True
    try:
        opened = contextlib.nullcontext(sys.stdin.buffer) if file == STDIN else open(file, "rb")
        with opened as stream:
            for text in _decode(iter(lambda: stream.read(BLOCK), b""), name):
                empty = False
                yield text
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    if empty and is_stream(file):
        raise InputError(f"{name} is empty; pipe some text into it")


def _decode(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    """The blocks as text, wherever they cut a character."""
    decoder, offset, started = codecs.getincrementaldecoder("utf-8")(), 0, False
    for block in chain(blocks, [b""]):
        held = len(decoder.getstate()[0])  # bytes of a character that the block before began
        if b"\0" in block:
            raise _not_text(name, offset + block.index(b"\0"), 0)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            position = offset - held + error.start
            raise _not_text(name, position, error.object[error.start]) from error
        if not started:
            text, started = text.removeprefix("\ufeff"), bool(text)
        if text:
            yield text
        offset += len(block)


def _not_text(name: str, offset: int, byte: int) -> InputError:
    return InputError(
        f"{name} is not UTF-8 text: byte 0x{byte:02X} at offset {offset:,}; "
        "convert it to UTF-8 or leave it out"
    )


def embedded_corpus() -> str:
    """Python's language reference, which `pydoc` carries: about 400,000 characters of English.

    The text depends on the version of Python alone. A topic that another one contains is left out:
    its text would stand in the training part and again in the held-out part.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError(
            "this build of Python lacks pydoc_data.topics, the embedded corpus; "
            "name a text file of your own"
        ) from error
    kept: dict[str, str] = {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        below_heading = topics[name].split("\n", 2)[-1].strip()
        if not any(below_heading in text for text in kept.values()):
            kept[name] = topics[name].strip("\n")
    return "\n\n".join(kept[name] for name in sorted(kept)) + "\n"

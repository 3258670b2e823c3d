"""From the paths a user gives to token shards in the run folder, and the tokenizer that made
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tinygrad_llm.data.shards import INDEX, open_tokens, write_documents, write_shards
from tinygrad_llm.data.sources import (
    embedded_corpus,
    find_files,
    is_stream,
    read_documents,
    read_texts,
)
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import write_atomic
from tinygrad_llm.recipes.kinds import KINDS
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.settings import RunConfig
from tinygrad_llm.text import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    Tokenizer,
    chunks,
    load_tokenizer,
)

END = "<|endoftext|>"
TOKENS = "tokens"  # the folder of a run that holds its shards
TOKENIZER_TEXT = 10_000_000  # bytes of text that a tokenizer is trained on at most


def prepare_corpus(
    run: RunConfig, vocab_size: int, folder: Path, reporter: Reporter
) -> tuple[Tokenizer, Tokens]:
    """The tokenizer and the tokens of a run; made and stored in `folder` unless a run before it did
    so. A .bin file, nanoGPT's or ours, holds tokens already and stays where it is.
    """
    if (folder / TOKENS / INDEX).exists():
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        return tokenizer, open_tokens(folder / TOKENS, tokenizer=tokenizer)
    if len(run.data) == 1 and run.data[0].endswith(".bin"):
        tokenizer = _tokenizer_of_ids(run)
        tokens = open_tokens(run.data[0], tokenizer=tokenizer)
        tokenizer.save(folder / "tokenizer.json")
        return tokenizer, tokens
    paths = _spooled(run.data, folder)
    size = sum(len(text.encode()) for text in corpus_texts(paths))
    tokenizer = _tokenizer(run, vocab_size, paths, size, reporter)
    tokenizer.save(folder / "tokenizer.json")
    with reporter.progress("tokenizing", size) as advance:
        _write(paths, tokenizer, folder / TOKENS, advance)
    return tokenizer, open_tokens(folder / TOKENS, tokenizer=tokenizer)


def corpus_texts(paths: Iterable[str]) -> Iterator[str]:
    """The text of the paths in pieces; without a path, Python's language reference."""
    return read_texts(paths) if paths else iter([embedded_corpus()])


def _write(paths: Sequence[str], tokenizer: Tokenizer, folder: Path, advance: Callable) -> None:
    """Tokenize; between two files stands END, so that the model learns where a text ends."""
    separator = tokenizer.special_tokens.get(END)
    if separator is None or len(paths) == 0 or len(find_files(paths)) == 1:
        write_shards(corpus_texts(paths), tokenizer, folder, progress=advance)
    else:
        documents = read_documents(paths)
        write_documents(documents, tokenizer, folder, separator=separator, progress=advance)


def _spooled(paths: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The paths with standard input and pipes stored as files: they can be read only once."""
    kept: list[str] = []
    for path in paths:
        if is_stream(path):
            stored = folder / f"stream-{len(kept)}.txt"
            write_atomic(stored, lambda copy, path=path: _copy_text(path, copy))
            path = str(stored)
        kept.append(path)
    return tuple(kept)


def _copy_text(source: str, path: Path) -> None:
    with open(path, "wb") as file:
        for text in read_texts(source):
            file.write(text.encode())


def _tokenizer(
    run: RunConfig, vocab_size: int, paths: tuple[str, ...], size: int, reporter: Reporter
) -> Tokenizer:
    """The tokenizer that the run names. BPE learns its merges from the training part of the text
    alone.
    """
    if run.tokenizer == "bytes":
        return ByteTokenizer()
    special = KINDS[run.model].special_tokens
    if run.tokenizer == "characters":
        return CharTokenizer.train(corpus_texts(paths), special_tokens=special)
    if run.tokenizer == "bpe":
        limit = min(int(size * (1 - run.validation)), TOKENIZER_TEXT)
        reporter.note(
            f"training a byte-pair vocabulary of {vocab_size:,} tokens on {limit:,} bytes"
        )
        texts = chunks(_first(corpus_texts(paths), limit))
        return BPETokenizer.train(
            texts, vocab_size, special_tokens=[END, *special], progress=reporter.advanced
        )
    return _stored_tokenizer(run)


def _stored_tokenizer(run: RunConfig) -> Tokenizer:
    if not Path(run.tokenizer).exists():
        raise InputError(
            f"tokenizer {run.tokenizer!r} is neither bpe, characters, bytes nor an existing file"
        )
    return load_tokenizer(run.tokenizer)


def _tokenizer_of_ids(run: RunConfig) -> Tokenizer:
    """The tokenizer whose ids a .bin file holds: nothing can be learned from them."""
    if run.tokenizer in ("bpe", "characters"):
        raise InputError(
            f"{run.data[0]} holds ids, not text; name the tokenizer that made them: "
            "--set tokenizer=FILE (a tokenizer.json, or the folder that holds one)"
        )
    return ByteTokenizer() if run.tokenizer == "bytes" else _stored_tokenizer(run)


def _first(texts: Iterable[str], limit: int) -> Iterator[str]:
    """The texts up to about `limit` bytes."""
    for text in texts:
        encoded = text.encode()
        yield text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
        limit -= len(encoded)
        if limit <= 0:
            return

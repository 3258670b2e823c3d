"""GPT-2's two vocabulary files: encoder.json (spelling to id) and vocab.bpe (one merge a line)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import MAX_JSON_BYTES, read_json_object
from tinygrad_llm.text.byte_alphabet import unspell
from tinygrad_llm.text.contents import Contents, merge_ids, number_special


def read(
    encoder_json: str | Path, vocab_bpe: str | Path, special_tokens: Sequence[str]
) -> Contents:
    """The tokenizer of the two files; InputError where they are malformed or do not fit."""
    ids, lines = read_json_object(encoder_json), _lines(Path(vocab_bpe))
    names = number_special(special_tokens, 0)
    if missing := [name for name in names if name not in ids]:
        raise InputError(
            f"{encoder_json} has no token {missing[0]!r}; "
            "name the special tokens that it holds: special_tokens=[...]"
        )
    special = {name: ids.pop(name) for name in names}
    try:
        vocabulary = {unspell(spelling): index for spelling, index in ids.items()}
        merges = [merge_ids(line.split(" "), ids) for line in lines]
        return Contents("bpe", vocabulary, special, merges, pattern="gpt2")
    except InputError as error:
        raise InputError(f"{encoder_json} with {vocab_bpe}: {error}") from None


def _lines(path: Path) -> list[str]:
    """The merges, without the line that states the version."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        lines = content.decode().split("\n")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason})") from error
    if len(content) > MAX_JSON_BYTES:
        raise InputError(f"{path} is larger than {MAX_JSON_BYTES:,} bytes; is it the right file?")
    first = 1 if lines[0].startswith("#version") else 0
    return [line for line in lines[first:] if line]

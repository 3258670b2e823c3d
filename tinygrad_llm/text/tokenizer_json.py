"""`tokenizer.json`, the file format of Hugging Face's tokenizers: what is written, what is read.

Each kind is written so that tokenizers gives the same ids and text: BPE and bytes as byte-level BPE
(bytes without merges), characters as WordLevel over single characters. A file that asks for
anything else is refused by name, for read without that step it would give other ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.text import wordpiece_json
from tinygrad_llm.text.byte_alphabet import unspell
from tinygrad_llm.text.contents import Contents, merge_ids
from tinygrad_llm.text.json_parts import (
    ABSENT,
    ANY,
    FLAG,
    NO,
    added_token,
    list_of,
    ordinary,
    require,
    special_tokens,
)
from tinygrad_llm.text.patterns import PATTERNS

FILE_NAME = "tokenizer.json"
_TIED = "tied_merges"  # ours; tokenizers passes over it, and applies merges one after the other
_DIGITS = {"type": "Digits", "individual_digits": True}
_EACH_CHARACTER = {
    "type": "Split",
    "pattern": {"Regex": r"[\s\S]"},
    "behavior": "Isolated",
    "invert": False,
}


def write(path: str | Path, contents: Contents) -> None:
    """Write `contents` to the file `path`, or as tokenizer.json into the folder `path`."""
    text = json.dumps(to_json(contents), ensure_ascii=False, indent=1)
    write_atomic(_in_folder(path), text + "\n")


def read(path: str | Path, *, allow_pattern: bool = False) -> Contents:
    """The tokenizer in the file `path`, or in the tokenizer.json of the folder `path`.

    allow_pattern: whether a split pattern that is none of ours may run.
    """
    path = _in_folder(path)
    document = read_json_object(path)
    try:
        return from_json(document, allow_pattern=allow_pattern)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _in_folder(path: str | Path) -> Path:
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def to_json(contents: Contents) -> dict[str, Any]:
    """The document that stands for `contents`."""
    if contents.kind == "wordpiece":
        return wordpiece_json.to_json(contents)
    characters = contents.kind == "characters"
    special = [added_token(name, index) for name, index in contents.special_tokens.items()]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(special, key=lambda token: token["id"]),
        "normalizer": None,
        "pre_tokenizer": _EACH_CHARACTER if characters else _pre_tokenizer(contents.pattern),
        "post_processor": None,
        "decoder": {"type": "Fuse"} if characters else _byte_level(use_regex=True),
        "model": _model(contents),
    }


def _pre_tokenizer(pattern: str | None) -> dict[str, Any]:
    if pattern is None or pattern == "gpt2":
        return _byte_level(use_regex=pattern == "gpt2")
    split = _EACH_CHARACTER | {"pattern": {"Regex": PATTERNS.get(pattern, pattern)}}
    return {"type": "Sequence", "pretokenizers": [split, _byte_level(use_regex=False)]}


def _byte_level(use_regex: bool) -> dict[str, Any]:
    """`use_regex` splits by GPT-2's pattern."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _model(contents: Contents) -> dict[str, Any]:
    ids = {contents.spell(token): index for token, index in contents.vocabulary.items()}
    ids = dict(sorted((ids | contents.special_tokens).items(), key=lambda pair: pair[1]))
    if contents.kind == "characters":
        # No token is spelled "", so an unknown character is an error in tokenizers too.
        return {"type": "WordLevel", "vocab": ids, "unk_token": ""}
    spellings = list(ids)
    merges = [[spellings[left], spellings[right]] for left, right in contents.merges]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": ids,
        "merges": merges,
        **({_TIED: True} if contents.tied else {}),
    }


def from_json(document: Mapping[str, Any], *, allow_pattern: bool = False) -> Contents:
    """The tokenizer that `document` describes; an InputError names the part that is not ours."""
    if wordpiece_json.describes(document):
        return wordpiece_json.from_json(document)
    require(
        "tokenizer.json",
        document,
        version=("1.0",),
        truncation=ABSENT,
        padding=ABSENT,
        added_tokens=ANY,
        normalizer=ABSENT,
        pre_tokenizer=ANY,
        post_processor=ANY,
        decoder=ANY,
        model=ANY,
    )
    _require_no_additions(document.get("post_processor"))
    special = special_tokens(document.get("added_tokens", []))
    model = document.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind == "BPE":
        return _from_bpe(document, special, allow_pattern)
    if kind == "WordLevel":
        return _from_word_level(document, special)
    raise InputError(
        f"a model of type {kind!r:.60} is not supported, only 'BPE', 'WordLevel' and 'WordPiece'"
    )


def _from_bpe(
    document: Mapping[str, Any], special: Mapping[str, int], allow_pattern: bool
) -> Contents:
    model = document["model"]
    # Every byte is a token, so what stands for unknown ones (unk_token, fuse_unk) is never used.
    require(
        "model",
        model,
        type=("BPE",),
        dropout=(None, 0.0),
        unk_token=ANY,
        continuing_subword_prefix=(None, ""),
        end_of_word_suffix=(None, ""),
        fuse_unk=FLAG,
        byte_fallback=NO,
        ignore_merges=NO,
        vocab=ANY,
        merges=ANY,
        **{_TIED: (None, True)},
    )
    _require_byte_level("decoder", document.get("decoder"), FLAG, FLAG)
    pattern = _pattern(document.get("pre_tokenizer"), allow_pattern)
    ids = ordinary(model, special)
    merges = [merge_ids(_two(merge), ids) for merge in list_of("merges", model.get("merges"))]
    vocabulary = {unspell(spelling): index for spelling, index in ids.items()}
    if pattern is None and merges:
        raise InputError("merges without a split pattern are not supported")
    kind, tied = "bpe" if pattern else "bytes", model.get(_TIED, False)
    return Contents(kind, vocabulary, special, merges, pattern, tied)


def _from_word_level(document: Mapping[str, Any], special: Mapping[str, int]) -> Contents:
    model = document["model"]
    require("model", model, type=("WordLevel",), vocab=ANY, unk_token=ANY)
    require(
        "pre_tokenizer",
        document.get("pre_tokenizer"),
        **{key: (value,) for key, value in _EACH_CHARACTER.items()},
    )
    require("decoder", document.get("decoder"), type=("Fuse",))
    ids, unknown = ordinary(model, special), model.get("unk_token")
    if not isinstance(unknown, str) or unknown in ids or unknown in special:
        raise InputError(f"unk_token = {unknown!r:.60}: unknown characters must have no token")
    if wrong := [name for name in ids if len(name) != 1 or "\ud800" <= name <= "\udfff"]:
        raise InputError(f"token {wrong[0]!r:.60} is not a character; words are not supported")
    return Contents("characters", {name.encode(): index for name, index in ids.items()}, special)


def _pattern(pre_tokenizer: object, allow_pattern: bool) -> str | None:
    """The split pattern, by its name if it is one of ours; None where the text is not split."""
    parts = [pre_tokenizer]
    if isinstance(pre_tokenizer, dict) and pre_tokenizer.get("type") == "Sequence":
        require("pre_tokenizer", pre_tokenizer, type=("Sequence",), pretokenizers=ANY)
        parts = list_of("pretokenizers", pre_tokenizer.get("pretokenizers"))
    if len(parts) == 1:
        _require_byte_level("pre_tokenizer", parts[0], (False,), FLAG)
        return None if parts[0].get("use_regex") is False else "gpt2"
    if len(parts) != 2:
        raise InputError(f"pre_tokenizer: a sequence of {len(parts)} parts is not supported")
    if parts[0] == _DIGITS:
        _require_byte_level("pre_tokenizer", parts[1], (False,), (None, True))
        return "smollm"
    require(
        "pre_tokenizer",
        parts[0],
        type=("Split",),
        pattern=ANY,
        behavior=("Isolated",),
        invert=(False,),
    )
    _require_byte_level("pre_tokenizer", parts[1], (False,), (False,))
    require("pattern", parts[0].get("pattern"), Regex=ANY)
    expression = parts[0]["pattern"].get("Regex")
    for name, known in PATTERNS.items():
        if expression == known:
            return name
    if not allow_pattern:
        raise InputError(
            f"the split pattern {expression!r:.80} is none of {', '.join(PATTERNS)}; if you trust "
            "the file, BPETokenizer.from_file(path, allow_pattern=True) runs it"
        )
    return expression


def _require_byte_level(
    where: str, part: object, add_prefix_space: Sequence, use_regex: Sequence
) -> None:
    require(
        where,
        part,
        type=("ByteLevel",),
        add_prefix_space=add_prefix_space,
        trim_offsets=ANY,
        use_regex=use_regex,
    )


def _require_no_additions(post_processor: object) -> None:
    """Refuse a post-processor that adds tokens; ByteLevel only moves offsets, a thing apart."""
    if post_processor is None:
        return
    if isinstance(post_processor, dict) and post_processor.get("type") == "ByteLevel":
        return _require_byte_level("post_processor", post_processor, FLAG, FLAG)
    require(
        "post_processor",
        post_processor,
        type=("TemplateProcessing",),
        pair=ANY,
        single=([{"Sequence": {"id": "A", "type_id": 0}}],),
        special_tokens=({},),
    )


def _two(merge: object) -> list:
    """A merge is written ["a", "b"], in older files "a b"."""
    return merge.split(" ") if isinstance(merge, str) else list_of("a merge", merge)

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
from tinygrad_llm.text.byte_alphabet import unspell
from tinygrad_llm.text.contents import Contents, merge_ids
from tinygrad_llm.text.patterns import PATTERNS

FILE_NAME = "tokenizer.json"
_ANY = object()
_ABSENT = (None,)
_NO = (None, False)
_FLAG = (None, False, True)
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


def read(path: str | Path) -> Contents:
    """The tokenizer in the file `path`, or in the tokenizer.json of the folder `path`."""
    path = _in_folder(path)
    document = read_json_object(path)
    try:
        return from_json(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _in_folder(path: str | Path) -> Path:
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def to_json(contents: Contents) -> dict[str, Any]:
    """The document that stands for `contents`."""
    characters = contents.kind == "characters"
    special = [_added_token(name, index) for name, index in contents.special_tokens.items()]
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


def _added_token(name: str, index: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": name, **flags, "special": True}


def _pre_tokenizer(pattern: str | None) -> dict[str, Any]:
    if pattern is None or pattern == "gpt2":
        return _byte_level(use_regex=pattern == "gpt2")
    split = _EACH_CHARACTER | {"pattern": {"Regex": PATTERNS[pattern]}}
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
    }


def from_json(document: Mapping[str, Any]) -> Contents:
    """The tokenizer that `document` describes; an InputError names the part that is not ours."""
    _require(
        "tokenizer.json",
        document,
        version=("1.0",),
        truncation=_ABSENT,
        padding=_ABSENT,
        added_tokens=_ANY,
        normalizer=_ABSENT,
        pre_tokenizer=_ANY,
        post_processor=_ANY,
        decoder=_ANY,
        model=_ANY,
    )
    _require_no_additions(document.get("post_processor"))
    special = _special_tokens(document.get("added_tokens", []))
    model = document.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind == "BPE":
        return _from_bpe(document, special)
    if kind == "WordLevel":
        return _from_word_level(document, special)
    raise InputError(f"a model of type {kind!r:.60} is not supported, only 'BPE' and 'WordLevel'")


def _from_bpe(document: Mapping[str, Any], special: Mapping[str, int]) -> Contents:
    model = document["model"]
    # Every byte is a token, so what stands for unknown ones (unk_token, fuse_unk) is never used.
    _require(
        "model",
        model,
        type=("BPE",),
        dropout=(None, 0.0),
        unk_token=_ANY,
        continuing_subword_prefix=(None, ""),
        end_of_word_suffix=(None, ""),
        fuse_unk=_FLAG,
        byte_fallback=_NO,
        ignore_merges=_NO,
        vocab=_ANY,
        merges=_ANY,
    )
    _require_byte_level("decoder", document.get("decoder"), _FLAG, _FLAG)
    pattern = _pattern(document.get("pre_tokenizer"))
    ids = _ordinary(model, special)
    merges = [merge_ids(_two(merge), ids) for merge in _list("merges", model.get("merges"))]
    vocabulary = {unspell(spelling): index for spelling, index in ids.items()}
    if pattern is None and merges:
        raise InputError("merges without a split pattern are not supported")
    return Contents("bpe" if pattern else "bytes", vocabulary, special, merges, pattern)


def _from_word_level(document: Mapping[str, Any], special: Mapping[str, int]) -> Contents:
    model = document["model"]
    _require("model", model, type=("WordLevel",), vocab=_ANY, unk_token=_ANY)
    _require(
        "pre_tokenizer",
        document.get("pre_tokenizer"),
        **{key: (value,) for key, value in _EACH_CHARACTER.items()},
    )
    _require("decoder", document.get("decoder"), type=("Fuse",))
    ids, unknown = _ordinary(model, special), model.get("unk_token")
    if not isinstance(unknown, str) or unknown in ids or unknown in special:
        raise InputError(f"unk_token = {unknown!r:.60}: unknown characters must have no token")
    if wrong := [name for name in ids if len(name) != 1 or "\ud800" <= name <= "\udfff"]:
        raise InputError(f"token {wrong[0]!r:.60} is not a character; words are not supported")
    return Contents("characters", {name.encode(): index for name, index in ids.items()}, special)


def _special_tokens(added: object) -> dict[str, int]:
    special: dict[str, int] = {}
    for token in _list("added_tokens", added):
        _require(
            "added_tokens",
            token,
            id=_ANY,
            content=_ANY,
            single_word=_NO,
            lstrip=_NO,
            rstrip=_NO,
            normalized=_FLAG,
            special=(True,),
        )
        name = token.get("content")
        if not isinstance(name, str) or name in special:
            raise InputError(f"added_tokens: content {name!r:.60} is no text, or there twice")
        special[name] = token.get("id")
    return special


def _ordinary(model: Mapping[str, Any], special: Mapping[str, int]) -> dict[str, int]:
    """The model's own vocabulary without the special tokens, whose ids must agree."""
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        raise InputError(f"model: vocab is an object of names and ids, not {vocab!r:.60}")
    for name, index in special.items():
        if vocab.get(name, index) != index:
            raise InputError(
                f"special token {name!r:.60} has the id {index!r:.40} in "
                f"added_tokens, but {vocab[name]!r:.40} in vocab"
            )
    return {name: index for name, index in vocab.items() if name not in special}


def _pattern(pre_tokenizer: object) -> str | None:
    """The name of the split pattern; None where the text is not split at all."""
    parts = [pre_tokenizer]
    if isinstance(pre_tokenizer, dict) and pre_tokenizer.get("type") == "Sequence":
        _require("pre_tokenizer", pre_tokenizer, type=("Sequence",), pretokenizers=_ANY)
        parts = _list("pretokenizers", pre_tokenizer.get("pretokenizers"))
    if len(parts) == 1:
        _require_byte_level("pre_tokenizer", parts[0], (False,), _FLAG)
        return None if parts[0].get("use_regex") is False else "gpt2"
    if len(parts) != 2:
        raise InputError(f"pre_tokenizer: a sequence of {len(parts)} parts is not supported")
    expressions = [{"Regex": expression} for expression in PATTERNS.values()]
    _require(
        "pre_tokenizer",
        parts[0],
        type=("Split",),
        pattern=expressions,
        behavior=("Isolated",),
        invert=(False,),
    )
    _require_byte_level("pre_tokenizer", parts[1], (False,), (False,))
    return list(PATTERNS)[expressions.index(parts[0]["pattern"])]


def _require_byte_level(
    where: str, part: object, add_prefix_space: Sequence, use_regex: Sequence
) -> None:
    _require(
        where,
        part,
        type=("ByteLevel",),
        add_prefix_space=add_prefix_space,
        trim_offsets=_ANY,
        use_regex=use_regex,
    )


def _require_no_additions(post_processor: object) -> None:
    """Refuse a post-processor that adds tokens; ByteLevel only moves offsets, a thing apart."""
    if post_processor is None:
        return
    if isinstance(post_processor, dict) and post_processor.get("type") == "ByteLevel":
        return _require_byte_level("post_processor", post_processor, _FLAG, _FLAG)
    _require(
        "post_processor",
        post_processor,
        type=("TemplateProcessing",),
        pair=_ANY,
        single=([{"Sequence": {"id": "A", "type_id": 0}}],),
        special_tokens=({},),
    )


def _require(where: str, part: object, **allowed: Any) -> None:
    """Check that `part` has only the keys in `allowed`, with the values there; absent is None."""
    if not isinstance(part, dict):
        raise InputError(f"{where} is {part!r:.60}, but an object {{...}} is needed")
    for key in [*allowed, *part]:
        value = part.get(key)
        options = allowed.get(key, _ABSENT)
        if options is not _ANY and not any(type(value) is type(o) and value == o for o in options):
            raise InputError(f"{where}: {key} = {value!r:.80} is not supported")


def _list(where: str, value: object) -> list:
    if not isinstance(value, list):
        raise InputError(f"{where} is a list, not {value!r:.60}")
    return value


def _two(merge: object) -> list:
    """A merge is written ["a", "b"], in older files "a b"."""
    return merge.split(" ") if isinstance(merge, str) else _list("a merge", merge)

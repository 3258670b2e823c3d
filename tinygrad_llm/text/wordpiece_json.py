"""`tokenizer.json` of a WordPiece tokenizer, as BERT's: what is written, what is read.

Truncation and padding in such a file are passed over: how long a batch may be is its maker's say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.contents import Contents, WordPieceSettings
from tinygrad_llm.text.json_parts import (
    ANY,
    added_token,
    list_of,
    ordinary,
    require,
    special_tokens,
)

_NORMALIZER = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
_MODEL = ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word")
_BOOL = (False, True)
_LONGEST = 10_000  # characters of a word: the search for its parts is quadratic


def describes(document: Mapping[str, Any]) -> bool:
    """Whether the document is of a WordPiece tokenizer."""
    model = document.get("model")
    return isinstance(model, dict) and model.get("type") == "WordPiece"


def to_json(contents: Contents) -> dict[str, Any]:
    """The document that stands for `contents`."""
    settings, special = contents.wordpiece, contents.special_tokens
    ids = {token.decode(): index for token, index in contents.vocabulary.items()} | dict(special)
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(name, index) for name, index in sorted(special.items(), key=_id)
        ],
        "normalizer": {
            "type": "BertNormalizer",
            **{name: getattr(settings, name) for name in _NORMALIZER},
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*map(_named, settings.before), text, *map(_named, settings.after)],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                name: {"id": name, "ids": [ids[name]], "tokens": [name]}
                for name in (*settings.before, *settings.after)
            },
        },
        "decoder": {
            "type": "WordPiece",
            "prefix": settings.continuing_subword_prefix,
            "cleanup": True,
        },
        "model": {
            "type": "WordPiece",
            **{name: getattr(settings, name) for name in _MODEL},
            "vocab": dict(sorted(ids.items(), key=_id)),
        },
    }


def _id(pair: tuple[str, int]) -> int:
    return pair[1]


def _named(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def from_json(document: Mapping[str, Any]) -> Contents:
    """The tokenizer that `document` describes; an InputError names the part that is not ours."""
    require(
        "tokenizer.json",
        document,
        version=("1.0",),
        truncation=ANY,
        padding=ANY,
        added_tokens=ANY,
        normalizer=ANY,
        pre_tokenizer=ANY,
        post_processor=ANY,
        decoder=ANY,
        model=ANY,
    )
    model, normalizer = document["model"], document.get("normalizer")
    require("model", model, type=("WordPiece",), vocab=ANY, **dict.fromkeys(_MODEL, ANY))
    flags = {**dict.fromkeys(_NORMALIZER, _BOOL), "strip_accents": (None, *_BOOL)}
    require("normalizer", normalizer, type=("BertNormalizer",), **flags)
    require("pre_tokenizer", document.get("pre_tokenizer"), type=("BertPreTokenizer",))
    _require_decoder(document.get("decoder"), model.get("continuing_subword_prefix"))
    special = special_tokens(document.get("added_tokens", []))
    before, after = _template(document.get("post_processor"))
    values = {name: normalizer[name] for name in _NORMALIZER if name in normalizer}
    settings = WordPieceSettings(**values, **_model_settings(model), before=before, after=after)
    ids = ordinary(model, special)
    vocabulary = {token.encode("utf-8", "surrogatepass"): index for token, index in ids.items()}
    return Contents("wordpiece", _utf8(vocabulary), special, wordpiece=settings)


def _utf8(vocabulary: Mapping[bytes, int]) -> Mapping[bytes, int]:
    for token in vocabulary:
        try:
            token.decode()
        except UnicodeDecodeError:
            raise InputError(f"token {token!r:.60} holds a surrogate, which is no text") from None
    return vocabulary


def _model_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    unknown, prefix, longest = (model.get(name) for name in _MODEL)
    if not isinstance(unknown, str) or not isinstance(prefix, str):
        raise InputError(f"model: unk_token = {unknown!r:.40}, prefix = {prefix!r:.40}: no texts")
    if type(longest) is not int or not 0 < longest <= _LONGEST:
        raise InputError(
            f"model: max_input_chars_per_word = {longest!r:.40} is not from 1 to {_LONGEST:,}"
        )
    return dict(zip(_MODEL, (unknown, prefix, longest)))


def _require_decoder(decoder: object, prefix: object) -> None:
    require("decoder", decoder, type=("WordPiece",), prefix=(prefix,), cleanup=(True,))


def _template(processor: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the special tokens before and behind a text."""
    if processor is None:
        return (), ()
    require(
        "post_processor",
        processor,
        type=("TemplateProcessing",),
        single=ANY,
        pair=ANY,
        special_tokens=ANY,
    )
    names: list[str | None] = []
    for part in list_of("post_processor: single", processor.get("single")):
        if part == {"Sequence": {"id": "A", "type_id": 0}}:
            names.append(None)
            continue
        require("post_processor: single", part, SpecialToken=ANY)
        require("SpecialToken", part.get("SpecialToken"), id=ANY, type_id=(0,))
        name = part["SpecialToken"].get("id")
        if not isinstance(name, str):
            raise InputError(f"post_processor: the special token {name!r:.60} is no text")
        names.append(name)
    if names.count(None) != 1:
        raise InputError(f"post_processor: single has the text {names.count(None)} times, not once")
    place = names.index(None)
    return tuple(names[:place]), tuple(names[place + 1 :])

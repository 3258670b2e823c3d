"""Parts of `tokenizer.json` that all tokenizers have, and the check that nothing else is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_llm.errors import InputError

ANY = object()
ABSENT = (None,)
NO = (None, False)
FLAG = (None, False, True)


def require(where: str, part: object, **allowed: Any) -> None:
    """Check that `part` has only the keys in `allowed`, with the values there; absent is None."""
    if not isinstance(part, dict):
        raise InputError(f"{where} is {part!r:.60}, but an object {{...}} is needed")
    for key in [*allowed, *part]:
        value = part.get(key)
        options = allowed.get(key, ABSENT)
        if options is not ANY and not any(type(value) is type(o) and value == o for o in options):
            raise InputError(f"{where}: {key:.60} = {value!r:.80} is not supported")


def list_of(where: str, value: object) -> list:
    if not isinstance(value, list):
        raise InputError(f"{where} is a list, not {value!r:.60}")
    return value


def added_token(name: str, index: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": name, **flags, "special": True}


def special_tokens(added: object) -> dict[str, int]:
    special: dict[str, int] = {}
    for token in list_of("added_tokens", added):
        require(
            "added_tokens",
            token,
            id=ANY,
            content=ANY,
            single_word=NO,
            lstrip=NO,
            rstrip=NO,
            normalized=FLAG,
            special=(True,),
        )
        name = token.get("content")
        if not isinstance(name, str) or name in special:
            raise InputError(f"added_tokens: content {name!r:.60} is no text, or there twice")
        special[name] = token.get("id")
    return special


def ordinary(model: Mapping[str, Any], special: Mapping[str, int]) -> dict[str, int]:
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

"""Settings: frozen dataclasses whose fields are the flags, the TOML keys and the JSON keys.

Each default is stated once. A value is checked against its field's type before any work begins; an
unknown key is an error that names the nearest.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tinygrad_llm.errors import InputError, suggest

C = TypeVar("C")
MAX_TOML_BYTES = 1 << 20


def from_mapping(
    cls: type[C], values: Mapping[str, Any], *, base: C | None = None, where: str = ""
) -> C:
    """An instance of the dataclass `cls` from `values`.

    Keys left out come from `base`, else from the defaults. `where` stands in front of the errors.
    """
    fields = typing.get_type_hints(cls)
    for key in values:
        if key not in fields:
            error = suggest(key, fields, "setting")
            raise InputError(f"{where}: {error}") if where else error
    checked = {key: _check(key, value, fields[key], where) for key, value in values.items()}
    return dataclasses.replace(base, **checked) if base is not None else cls(**checked)


def check_shape(config: Any) -> None:
    """InputError where a field of a model's dataclass has no meaning: a whole number below 1, an id
    below 0, dropout outside [0, 1).

    The field's type decides, not the value's: JSON may write 0.0 as 0.
    """
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        least = 0 if name.endswith("_id") else 1
        if field.type in (int, "int") and value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
        if "dropout" in name and not 0 <= value < 1:
            raise InputError(f"{name} {value} is not in [0, 1)")


def parse_assignment(text: str, cls: type) -> tuple[str, Any]:
    """`key=value` from a command line as (key, typed value)."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text!r} has no '='; write --set key=value")
    fields = typing.get_type_hints(cls)
    if key not in fields:
        raise suggest(key, fields, "setting")
    return key, _parse(key, value, fields[key])


def read_toml(path: str | Path) -> dict[str, Any]:
    """The keys of a flat TOML file."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_TOML_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_TOML_BYTES:
        raise InputError(f"{path} is larger than {MAX_TOML_BYTES:,} bytes; is it the right file?")
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def _options(annotation: Any) -> tuple[Any, ...]:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _check(key: str, value: Any, annotation: Any, where: str = "") -> Any:
    options = _options(annotation)
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is float and type(value) is int:
            if value.bit_length() > 1023:  # float(value) could overflow
                break
            return float(value)
        if option == tuple[str, ...] and isinstance(value, list | tuple):
            return tuple(map(str, value))
        if type(value) is option:
            return value
    names = " or ".join("none" if o is type(None) else o.__name__ for o in options)
    raise InputError(f"{where + ': ' if where else ''}{key} = {value!r:.80} is not of type {names}")


def _parse(key: str, text: str, annotation: Any) -> Any:
    words = {"true": True, "false": False}
    for option in _options(annotation):
        if option is type(None) and text.lower() == "none":
            return None
        if option is bool and text.lower() in words:
            return words[text.lower()]
        if option is str:
            return text
        if option == tuple[str, ...]:
            return tuple(text.split(","))
        if option in (int, float):
            try:
                return option(text.replace("_", ""))
            except ValueError:
                continue
    names = " or ".join("none" if o is type(None) else o.__name__ for o in _options(annotation))
    raise InputError(f"{key}={text} is not of type {names}")

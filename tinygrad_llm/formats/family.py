"""What transformers' description of a kind of model is made of, and how a file's tensors fit it.

gpt2.py, llama.py, bert.py and marian.py each fill in a Family; no file is opened here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinygrad_llm.config import from_mapping
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Module

C = TypeVar("C")
Shape = tuple[int, ...]


class Slot(NamedTuple):
    """One tensor of transformers' model, and its place in ours."""

    name: str  # there, without the family's prefix
    parameter: str  # the path in our model
    shape: Shape  # there
    transposed: bool = False  # there (in, out), here (out, in)
    first: int | None = None  # the row of our parameter where it begins; None where it is all of it
    in_model: bool = True  # False: a tied weight, equal to `parameter`; or one that must be zeros
    part: str = ""  # the part of the model to which it belongs, if a model may lack that part


def linear(there: str, here: str, inputs: int, outputs: int, **rest: Any) -> Iterator[Slot]:
    """Weight and bias of a layer; rest: further fields of the Slots."""
    yield Slot(f"{there}.weight", f"{here}.weight", (outputs, inputs), **rest)
    yield Slot(f"{there}.bias", f"{here}.bias", (outputs,), **rest)


def norm(there: str, here: str, width: int, **rest: Any) -> Iterator[Slot]:
    """Scale and shift of a norm; rest: further fields of the Slots."""
    yield Slot(f"{there}.weight", f"{here}.weight", (width,), **rest)
    yield Slot(f"{there}.bias", f"{here}.bias", (width,), **rest)


def whole(kind: Callable[..., Module]) -> Callable[..., Module]:
    """Family.build of models that have no optional parts."""

    def build(config: Any, parts: Collection[str], rng: np.random.Generator) -> Module:
        return kind(config, rng=rng)

    return build


@dataclass(frozen=True)
class Family:
    """A kind of model: its configuration there and here, its classes, its tensors.

    build: (config, the optional parts that a file holds, rng) -> model. slots: of a model with all
    parts, in the model's order; a tied weight stands after the one it is tied to.
    """

    model_type: str
    architectures: Mapping[type[Module], str]  # our classes by transformers' names
    from_config: Callable[[Mapping[str, Any]], Any]
    to_config: Callable[[Any], dict[str, Any]]
    slots: Callable[[Any], Iterator[Slot]]
    build: Callable[[Any, Collection[str], np.random.Generator], Module]
    embeddings: tuple[str, ...]  # fields of the configuration that size embeddings alone
    prefix: str  # of the tensors' names; transformers' bare models write them without
    unprefixed: tuple[str, ...]  # beginnings of names that never have it
    ignored: tuple[str, ...] = ()  # ends of names that files hold and that no output depends on
    renamed: Mapping[str, str] = field(default_factory=dict)  # ends of names in old files

    def full_name(self, slot: Slot) -> str:
        """The name under which transformers stores a tensor."""
        return slot.name if slot.name.startswith(self.unprefixed) else self.prefix + slot.name

    def short_name(self, name: str) -> str:
        """The name of a Slot, from that in a file."""
        for old, new in self.renamed.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        return name.removeprefix(self.prefix)

    def match(
        self, config: Any, shapes: Mapping[str, Shape], in_blocks: Collection[str] = ()
    ) -> dict[str, Slot]:
        """The slot of each name in a file, in the model's order; InputError unless all fit.

        shapes: those of the file's tensors. in_blocks: names of those that hold blocks, whose rows
        are ours where transformers' would be columns. The slots are made one by one, so a
        configuration that promises a billion layers costs nothing: it ends at the first tensor
        that is missing.
        """
        names = self._short_names(shapes)
        found: dict[str, Slot] = {}
        absent: list[Slot] = []
        for slot in self.slots(config):
            name = names.pop(slot.name, None)
            if name is not None:
                _check_shape(slot, shapes[name], name in in_blocks)
                found[name] = slot
            elif slot.in_model and not slot.part:
                raise _missing(slot)
            elif slot.in_model:
                absent.append(slot)
        if names:
            extra = min(names.values())
            raise InputError(f"the tensor {extra!r:.80} has no place in this model")
        parts = {slot.part for slot in found.values()}
        for slot in absent:
            if slot.part in parts:
                raise _missing(slot)
        return found

    def _short_names(self, names: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in names:
            short = self.short_name(name)
            if short in found:
                raise InputError(f"the file has both {found[short]!r:.80} and {name!r:.80}")
            if not name.endswith(self.ignored):
                found[short] = name
        return found


def _check_shape(slot: Slot, shape: Shape, in_blocks: bool) -> None:
    expected = slot.shape[::-1] if in_blocks and slot.transposed else slot.shape
    if shape != expected:
        raise InputError(f"{slot.name} has shape {shape}, but the model {expected}")


def _missing(slot: Slot) -> InputError:
    return InputError(f"the tensor {slot.name!r} is missing")


def check_implemented(document: Mapping[str, Any], implemented: Mapping[str, tuple]) -> None:
    """InputError for the first key whose value is none of those implemented.

    The first of them is what a missing key means. A number may be written as 0 or 0.0.
    """
    for key, known in implemented.items():
        value = document.get(key, known[0])
        same = (other for other in known if isinstance(other, bool) is isinstance(value, bool))
        if value not in tuple(same):
            raise InputError(
                f"{key} is {value!r:.40}, which is not implemented; "
                f"implemented: {' and '.join(f'{other!r:.40}' for other in known)}"
            )


def configured(cls: type[C], values: Mapping[str, Any]) -> C:
    """The configuration of these values, from a file that may be anyone's."""
    for key, value in values.items():
        if type(value) is int and abs(value) >= 2**63:  # float(value) could overflow
            raise InputError(f"{key} has {value.bit_length()} bits, more than any model's")
    return from_mapping(cls, values)


def chosen(
    document: Mapping[str, Any], needed: Iterable[str], optional: Iterable[str]
) -> dict[str, Any]:
    """The values of these keys; InputError where a needed one is missing."""
    for key in needed:
        if key not in document:
            raise InputError(f"{key} is missing")
    return {key: document[key] for key in (*needed, *optional) if key in document}

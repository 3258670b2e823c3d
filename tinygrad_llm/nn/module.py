"""Module: a layer or a model, that is, a tree of named Tensors with a `forward`.

An attribute that is a Tensor is a parameter; one that is a Module, or a list of Modules, is a
branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.tensor import Tensor


class Module:
    """The base of layers and models; call it to run `forward`."""

    training = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) for this module, whose path is "", and every one below it, in order."""
        waiting: list[tuple[str, Module]] = [("", self)]
        while waiting:
            path, module = waiting.pop()
            yield path, module
            waiting += reversed(
                [(f"{path}.{name}" if path else name, child) for name, child in module._children()]
            )

    def _children(self) -> Iterator[tuple[str, Module]]:
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from (
                    (f"{name}.{i}", v) for i, v in enumerate(value) if isinstance(v, Module)
                )

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(path, Tensor) of every parameter; one that two layers share comes once, where it is
        first.
        """
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def parameters(self) -> Iterator[Tensor]:
        """Every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def num_parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(parameter.size for parameter in self.parameters())

    def state_dict(self) -> dict[str, np.ndarray]:
        """The parameters' arrays by path; they share memory with the module."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy arrays into the parameters; names and shapes must match, all of them, before
        anything is written.
        """
        own = dict(self.named_parameters())
        missing, extra = own.keys() - state.keys(), state.keys() - own.keys()
        if missing or extra:
            raise InputError(
                f"the weights do not fit the model: missing {_some(missing)}, "
                f"unexpected {_some(extra)}"
            )
        for name, parameter in own.items():
            if state[name].shape != parameter.shape:
                raise InputError(
                    f"{name} has shape {state[name].shape} in the file, "
                    f"but {parameter.shape} in the model"
                )
        for name, parameter in own.items():
            parameter.copy_(state[name])

    def train(self, mode: bool = True) -> Module:
        """Switch dropout on (training) or off; returns self."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch dropout off; returns self."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, wanted: bool = True) -> Module:
        """Freeze (False) or thaw all parameters; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad = wanted
        return self


def _some(names: set[str]) -> str:
    listed = sorted(names)[:3]
    return (
        ", ".join(listed) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "nothing"
    )

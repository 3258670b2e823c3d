"""The public names. The README has the map of the house; every formula is in `ops`."""

import importlib
from types import ModuleType
from typing import Any

from tinygrad_llm import kernels, twins
from tinygrad_llm.twins import reference  # noqa: F401

_HOMES = {  # each is loaded when its name is first used
    "BPETokenizer": "text",
    "Bert": "models",
    "BertConfig": "models",
    "EncoderDecoder": "models",
    "EncoderDecoderConfig": "models",
    "GPT": "models",
    "GPTConfig": "models",
    "Llama": "models",
    "LlamaConfig": "models",
    "Tensor": "tensor",
    "gradcheck": "explain.gradcheck",
    "no_grad": "tensor",
}
__version__ = "0.1.0"
__all__ = sorted([*_HOMES, "kernels", "reference"])


class _Switch(ModuleType):
    """The room of the compiled operations, and `with kernels():` which chooses them."""

    __call__ = staticmethod(twins.kernels)


kernels.__class__ = _Switch


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tinygrad_llm' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tinygrad_llm.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

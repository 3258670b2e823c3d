"""The public names. The README has the map of the house; every formula is in `ops`."""

# Loaded first, so that the name `kernels` is then that of the switch, not of the room.
from tinygrad_llm import kernels as _compiled  # noqa: F401
from tinygrad_llm.explain.gradcheck import gradcheck
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.tensor import Tensor, no_grad
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.twins import kernels, reference

__version__ = "0.1.0"
__all__ = [
    "BPETokenizer",
    "GPT",
    "GPTConfig",
    "Tensor",
    "gradcheck",
    "kernels",
    "no_grad",
    "reference",
]

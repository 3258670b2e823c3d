"""Models: one paper, one file."""

from tinygrad_llm.models.gpt import GPT, GPTConfig

__all__ = ["GPT", "GPTConfig"]

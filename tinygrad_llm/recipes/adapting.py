"""What instructions and preferences share: a base with adapters, and the model that comes of it.

The run folder keeps the best adapters in PEFT's files under adapter/, and when training is over the
whole model with the adapters merged, which every command and transformers open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.instructions import Template
from tinygrad_llm.finetuning.lora import LoRAConfig, add_lora, lora_layers, merge, remove_lora
from tinygrad_llm.finetuning.peft_files import load_adapter, save_adapter
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.inference.generation_config import GenerationConfig, save_generation_config
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.models.llama import Llama
from tinygrad_llm.nn import Module
from tinygrad_llm.nn.quantized import named_blocks
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.recipes.run import Run
from tinygrad_llm.recipes.tuning import Base, open_base
from tinygrad_llm.training import checkpoint

ADAPTER = "adapter"
T = TypeVar("T")


def open_decoder(source: str, lora: LoRAConfig, rng: np.random.Generator) -> Base:
    """A base that writes text, with fresh adapters; for a rank of 0 all its weights train."""
    base = open_base(source, rng)
    if not isinstance(base.model, (GPT, Llama)):
        raise InputError(
            f"{source} holds a {type(base.model).__name__}, which cannot write an answer; name the "
            "folder of a GPT or a Llama, or smollm2"
        )
    if lora.rank:
        add_lora(base.model, **vars(lora), rng=rng)
    elif any(named_blocks(base.model)):
        raise InputError(
            f"the weights in {source} are quantized, and such weights do not train; train adapters "
            "beside them: --lora 8"
        )
    return base


@dataclass
class Adapting(Run):
    """A run whose model is a base, most often with adapters."""

    base: Base
    template: Template

    def save_model(self) -> None:
        """The adapters alone, or where all weights train the whole model."""
        if any(lora_layers(self.model)):
            save_adapter(self.folder / ADAPTER, self.model, base=str(self.base.path))
        else:
            save_model(self.folder, self.model)

    def finish(self, answer_tokens: int) -> Module:
        """The best model of the run, plain, written whole beside its adapters."""
        if any(lora_layers(self.model)):
            model = self.model
            remove_lora(model)
            load_adapter(self.folder / ADAPTER, model)
            merge(model)
            remove_lora(model)
            save_model(self.folder, model)
        else:
            model = load_model(self.folder)
        end = self.base.tokenizer.special_tokens[self.template.end]
        config = GenerationConfig(temperature=0.0, max_new_tokens=answer_tokens, eos_token_id=end)
        save_generation_config(self.folder, config)
        return model.eval()


def is_kept(path: Path) -> bool:
    """Whether a file of what the base gave belongs to this run: it does once there is a checkpoint.

    Before that, it may be left from a try with another base or other data.
    """
    return path.exists() and (path.parent / checkpoint.FILE).exists()


def short_enough(
    examples: Sequence[T], longest: Sequence[int], limit: int, reporter: Reporter
) -> list[T]:
    """The examples of at most `limit` tokens, with a line on how many are left out."""
    kept = [e for e, length in zip(examples, longest, strict=True) if length <= limit]
    if left := len(examples) - len(kept):
        reporter.note(f"{left:,} examples of more than {limit} tokens are left out (max_length)")
    if not kept:
        raise InputError(
            f"no example has at most {limit} tokens in one of the parts; shorten some, or raise "
            "max_length if the base reads more"
        )
    return kept

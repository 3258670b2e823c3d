"""A model's folder again, with its weights in 8 or 4 bits: smaller, and faster where it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import CONFIG, save_model
from tinygrad_llm.nn.quantized import memory_of, named_blocks, quantize
from tinygrad_llm.recipes.evaluate import evaluate_folder
from tinygrad_llm.recipes.import_ import copy_beside
from tinygrad_llm.recipes.models import load_decoder
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.training.evaluation import Score

KINDS = {8: "Q8_0", 4: "Q4_1"}  # the table of tokens has 8 bits in both


class Quantized(NamedTuple):
    """Bytes of the weights before and after; scores on the text, if one was given."""

    before: int
    after: int
    scores: tuple[Score, Score] | None
    notes: list[str]


def quantize_folder(
    source: str | Path,
    folder: str | Path,
    *,
    bits: int,
    data: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> Quantized:
    """Write the GPT or Llama of a folder into a new one, its matrices in blocks of so many bits.

    InputError for a model that is quantized already, or whose rows 32 does not divide.
    """
    reporter, source, folder = reporter or Reporter(), Path(source), Path(folder)
    if bits not in KINDS:
        raise InputError(f"bits is {bits}; there are {' and '.join(map(str, KINDS))}")
    if (folder / CONFIG).exists():
        raise InputError(f"{folder} holds a model already; choose another folder, or remove it")
    model = load_decoder(source, progress=reporter.advanced)
    if next(named_blocks(model), None) is not None:
        raise InputError(f"{source} is quantized already; quantize the model that it came from")
    before = memory_of(model)
    quantize(model, KINDS[bits])
    save_model(folder, model, progress=reporter.advanced)
    notes = copy_beside(source, folder)
    after = memory_of(model)
    del model
    if not data:
        return Quantized(before, after, None, notes)
    old, new = (evaluate_folder(place, data, reporter=reporter) for place in (source, folder))
    return Quantized(before, after, (old, new), notes)

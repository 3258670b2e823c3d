"""Everything a run needs to go on bit for bit, in one file that is replaced in one step.

The weights that train and AdamW's moments are tensors, the rest (counters, generator states) is
JSON in the file's header; no pickle, so a checkpoint from a stranger is only data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import parse_json
from tinygrad_llm.nn import Module
from tinygrad_llm.tensor_files import load_tensors, save_tensors
from tinygrad_llm.training.optimizer import AdamW

FILE = "checkpoint.safetensors"


def save_checkpoint(
    folder: Path,
    model: Module,
    optimizer: AdamW,
    rng: np.random.Generator,
    progress: dict[str, Any],
) -> None:
    """Write `folder`/checkpoint.safetensors. progress: JSON values of the caller's own, such as the
    data's state. Frozen weights are not in it: they are where they came from.
    """
    trained = {name: p.data for name, p in model.named_parameters() if p.requires_grad}
    tensors = {f"model.{name}": array for name, array in trained.items()}
    tensors |= {"adamw.mean": optimizer.mean, "adamw.square": optimizer.square}
    state = {"steps": optimizer.steps, "rng": rng.bit_generator.state, "progress": progress}
    save_tensors(folder / FILE, tensors, {"state": json.dumps(state)})


def load_checkpoint(
    folder: Path, model: Module, optimizer: AdamW, rng: np.random.Generator
) -> dict[str, Any]:
    """Bring model, optimizer and rng to the saved state and return `progress`. Nothing changes if a
    part is wrong.
    """
    path = folder / FILE
    tensors, metadata = load_tensors(path)
    state = parse_json(metadata.get("state", "").encode(), str(path))
    weights = {name[6:]: array for name, array in tensors.items() if name.startswith("model.")}
    try:
        moments = tensors["adamw.mean"], tensors["adamw.square"]
        steps, generator, progress = state["steps"], state["rng"], state["progress"]
        if (
            any(moment.shape != optimizer.mean.shape for moment in moments)
            or type(steps) is not int
        ):
            raise ValueError("the optimizer's state has another size")
        np.random.default_rng().bit_generator.state = generator
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no checkpoint of this run ({error}); remove it to start again"
        ) from error
    frozen = {name: p.data for name, p in model.named_parameters() if not p.requires_grad}
    model.load_state_dict(frozen | weights)
    optimizer.mean[:], optimizer.square[:] = moments
    optimizer.steps = steps
    rng.bit_generator.state = generator
    return progress

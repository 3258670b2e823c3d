"""A GPT as transformers' GPT2LMHeadModel describes it: config.json, tensor names and shapes.

It opens no file. What GPT would compute differently is refused by name, never read as another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.config import from_mapping
from tinygrad_llm.errors import InputError
from tinygrad_llm.models.gpt import GPT, GPTConfig

PREFIX, HEAD = "transformer.", "lm_head.weight"
BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks that old files hold
DROPOUTS, DROPOUT = ("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1  # GPT2Config's default
SIZES = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")
OPTIONS = ("bias", "qkv_bias", "tie_word_embeddings", "layer_norm_epsilon")

IMPLEMENTED = {  # the values that GPT computes; the first is what a missing key means
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
}

BLOCK = {  # name there: (name here, shape there in units of n_embd)
    "ln_1.weight": ("ln_1.weight", (1,)),
    "ln_1.bias": ("ln_1.bias", (1,)),
    "attn.c_attn.weight": ("attn.in_proj.weight", (1, 3)),
    "attn.c_attn.bias": ("attn.in_proj.bias", (3,)),
    "attn.c_proj.weight": ("attn.out_proj.weight", (1, 1)),
    "attn.c_proj.bias": ("attn.out_proj.bias", (1,)),
    "ln_2.weight": ("ln_2.weight", (1,)),
    "ln_2.bias": ("ln_2.bias", (1,)),
    "mlp.c_fc.weight": ("mlp.c_fc.weight", (1, 4)),
    "mlp.c_fc.bias": ("mlp.c_fc.bias", (4,)),
    "mlp.c_proj.weight": ("mlp.c_proj.weight", (4, 1)),
    "mlp.c_proj.bias": ("mlp.c_proj.bias", (1,)),
}


class Slot(NamedTuple):
    """A tensor of GPT2LMHeadModel; a block's matrices are stored (in, out), transposed to ours."""

    name: str  # there, without PREFIX
    parameter: str  # the path in our model
    shape: tuple[int, ...]  # there
    transposed: bool
    in_model: bool  # False for a bias that our model does not have, and for a tied head


def slots(config: GPTConfig) -> Iterator[Slot]:
    """Every tensor that a GPT2LMHeadModel of this size has; it always has biases and a head."""
    width, tied = config.n_embd, config.tie_word_embeddings
    yield Slot("wte.weight", "wte.weight", (config.vocab_size, width), False, True)
    yield Slot("wpe.weight", "wpe.weight", (config.n_positions, width), False, True)
    for i in range(config.n_layer):
        for name, (parameter, units) in BLOCK.items():
            biased = config.bias and (config.qkv_bias or name != "attn.c_attn.bias")
            yield Slot(
                f"h.{i}.{name}",
                f"h.{i}.{parameter}",
                tuple(n * width for n in units),
                len(units) == 2,
                biased or not name.endswith(".bias"),
            )
    yield Slot("ln_f.weight", "ln_f.weight", (width,), False, True)
    yield Slot("ln_f.bias", "ln_f.bias", (width,), False, config.bias)
    yield Slot(HEAD, HEAD, (config.vocab_size, width), False, not tied)


def to_tensors(model: GPT) -> dict[str, np.ndarray]:
    """The model's arrays under transformers' names; a bias that it does not have becomes zeros."""
    arrays, tensors = model.state_dict(), {}
    for slot in slots(model.config):
        if slot.in_model:
            array = arrays[slot.parameter]
            name = HEAD if slot.name == HEAD else PREFIX + slot.name
            tensors[name] = array.T if slot.transposed else array
        elif slot.name != HEAD:
            tensors[PREFIX + slot.name] = np.zeros(slot.shape, np.float32)
    return tensors


def match(config: GPTConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Slot]:
    """The slot of each name in a file, in the model's order; InputError unless all fit.

    shapes: those of the file's tensors. Buffers of old files get no slot.
    """
    names = _short_names(shapes)
    if config.n_layer > len(names):  # before anything of that length is made
        raise InputError(f"n_layer is {config.n_layer}, but the file has {len(names)} tensors")
    wanted = {slot.name: slot for slot in slots(config)}
    if extra := sorted(names.keys() - wanted.keys()):
        raise InputError(f"the tensor {names[extra[0]]!r:.80} has no place in this model")
    for name, slot in wanted.items():
        if name not in names:
            if slot.in_model:
                raise InputError(f"the tensor {name!r} is missing")
        elif shapes[names[name]] != slot.shape:
            raise InputError(f"{name} has shape {shapes[names[name]]}, but the model {slot.shape}")
    return {names[name]: slot for name, slot in wanted.items() if name in names}


def _short_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without PREFIX -> the name; GPT2Model writes them without, GPT2LMHeadModel with."""
    found: dict[str, str] = {}
    for name in names:
        short = name.removeprefix(PREFIX)
        if short in found:
            raise InputError(f"the file has both {found[short]!r:.80} and {name!r:.80}")
        if not name.endswith(BUFFERS):
            found[short] = name
    return found


def to_config(config: GPTConfig) -> dict[str, Any]:
    """config.json for transformers, with two keys of ours that it ignores: bias and qkv_bias."""
    own = dataclasses.asdict(config)
    dropout = own.pop("dropout")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **own,
        **dict.fromkeys(DROPOUTS, dropout),
        "n_inner": None,
        "activation_function": "gelu_new",
        "bos_token_id": None,
        "eos_token_id": None,
    }


def from_config(document: Mapping[str, Any]) -> GPTConfig:
    """The GPT that a config.json describes; InputError with the key where it is another model."""
    if document.get("model_type") != "gpt2":
        raise InputError(f"model_type is {document.get('model_type')!r:.40}; only 'gpt2' is read")
    for key, known in IMPLEMENTED.items():
        if document.get(key, known[0]) not in known:
            raise InputError(
                f"{key} is {document[key]!r:.40}, which is not implemented; "
                f"implemented: {' and '.join(map(repr, known))}"
            )
    for key in SIZES:
        if key not in document:
            raise InputError(f"{key} is missing")
    values = {key: document[key] for key in SIZES + OPTIONS if key in document}
    config = from_mapping(GPTConfig, values | {"dropout": _dropout(document)})
    if document.get("n_inner") not in (None, 4 * config.n_embd):
        raise InputError(
            f"n_inner is {document['n_inner']!r:.40}; "
            f"only 4 n_embd = {4 * config.n_embd} is implemented"
        )
    if not 0 < config.layer_norm_epsilon < math.inf:
        raise InputError(f"layer_norm_epsilon is {config.layer_norm_epsilon}; it must be above 0")
    return config


def _dropout(document: Mapping[str, Any]) -> Any:
    """The one probability that stands for GPT-2's three."""
    values = [document.get(key, DROPOUT) for key in DROPOUTS]
    if any(value != values[0] for value in values):
        raise InputError(
            f"{', '.join(DROPOUTS)} are {', '.join(map(repr, values)):.80}; "
            "one dropout for all three is implemented: make them equal"
        )
    return values[0]

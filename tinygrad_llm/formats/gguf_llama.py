"""A Llama in a GGUF file: its metadata, its tensors' names, and the order of its queries and keys.

llama.cpp turns neighbouring numbers (x_2i, x_2i+1), so its converter has moved the rows of the
query and key matrices; here they go back to where rotary.py, as transformers, takes the pairs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.blocks import is_blocks
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.family import configured
from tinygrad_llm.formats.gguf import GGUFFile
from tinygrad_llm.formats.gguf_tensors import Stored
from tinygrad_llm.formats.llama import FAMILY
from tinygrad_llm.formats.weights import load_weights
from tinygrad_llm.models.llama import Llama, LlamaConfig
from tinygrad_llm.progress import Progress
from tinygrad_llm.tensor_files import Entry

ENDS = {"token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
FIELDS = {  # ours by the file's key, without "llama."
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "context_length": "max_position_embeddings",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
SCALES = ("rope.scaling.factor", "rope.scale_linear")  # 1 changes nothing
REFUSED = (*SCALES, "rope.scaling.type", "attention.sliding_window", "expert_count")


def load_llama(
    file: GGUFFile,
    *,
    keep_blocks: bool = False,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Llama:
    """The model in an open file, in evaluation mode; its weights dequantized to float32, or with
    keep_blocks those in 8 or 4 bits as they are.

    progress is told of tensors that were read. InputError where the file holds another
    architecture, or one that Llama would compute differently.
    """
    try:
        config = llama_config(file)
        tensors = LlamaTensors(file, config, keep_blocks)
        return load_weights(FAMILY, config, tensors, rng, progress=progress)
    except InputError as error:
        raise InputError(f"{file.path}: {error}") from None


def llama_config(file: GGUFFile) -> LlamaConfig:
    """The shape of the Llama that a file's metadata describes."""
    metadata = file.metadata
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise InputError(f"general.architecture is {architecture!r:.40}; read is 'llama'")
    for key, value in metadata.items():
        if key.startswith("llama.") and isinstance(value, (list, np.ndarray)):
            raise InputError(f"{key} is an array; one value for all layers is implemented")
    values = {ours: _needed(metadata, f"llama.{key}") for key, ours in FIELDS.items()}
    heads = values["num_attention_heads"]
    values["num_key_value_heads"] = metadata.get("llama.attention.head_count_kv", heads)
    values["rope_theta"] = metadata.get("llama.rope.freq_base", LlamaConfig.rope_theta)
    for name in ("rms_norm_eps", "rope_theta"):
        values[name] = _shortest(values[name])
    values["tie_word_embeddings"] = "output.weight" not in file.entries
    values["attention_bias"] = "blk.0.attn_q.bias" in file.entries
    values["mlp_bias"] = "blk.0.ffn_up.bias" in file.entries
    if "token_embd.weight" not in file.entries:
        raise InputError("the tensor 'token_embd.weight' is missing")
    values["vocab_size"] = file.entries["token_embd.weight"].shape[0]
    config = configured(LlamaConfig, values)
    _refuse_other(metadata, config)
    return config


def _needed(metadata: Mapping[str, Any], key: str) -> Any:
    if key not in metadata:
        raise InputError(f"the key {key} is missing")
    return metadata[key]


def _shortest(value: Any) -> Any:
    """A float32 as the shortest decimal that stands for it: 1e-05, not 9.99999974e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _refuse_other(metadata: Mapping[str, Any], config: LlamaConfig) -> None:
    width = config.hidden_size // config.num_attention_heads
    for key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        if metadata.get(f"llama.{key}", width) != width:
            raise InputError(
                f"llama.{key} is {metadata[f'llama.{key}']!r:.40}; only the width of a head, "
                f"{width}, is implemented"
            )
    for key in REFUSED:
        value = metadata.get(f"llama.{key}")
        if value not in (None, "none", 0) and not (key in SCALES and value == 1):
            raise InputError(f"llama.{key} is {value!r:.40}, which is not implemented")


class LlamaTensors:
    """The tensors of a file under transformers' names; as float32, or as they are stored."""

    def __init__(self, file: GGUFFile, config: LlamaConfig, keep_blocks: bool = False):
        self._file, self._config, self._keep_blocks = file, config, keep_blocks
        self._names = {_transformers_name(name): name for name in file.entries}
        self.entries: dict[str, Entry] = {
            ours: file.entries[name] for ours, name in self._names.items()
        }

    def stored(self, name: str) -> Stored:
        """The blocks of a tensor, its rows in transformers' order."""
        kind, blocks = self._file.stored(self._names[name])
        if ".q_proj." in name:
            blocks = _halves(blocks, self._config.num_attention_heads)
        elif ".k_proj." in name:
            blocks = _halves(blocks, self._config.num_key_value_heads)
        return Stored(kind, blocks)

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32, or where blocks are kept, those of a matrix."""
        stored = self.stored(name)
        if self._keep_blocks and is_blocks(stored.blocks) and stored.blocks.ndim == 2:
            return np.ascontiguousarray(stored.blocks)
        return stored.dequantize()


def _transformers_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in ENDS:
        return f"{ENDS[stem]}.{kind}"
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem, re.ASCII)
    if layer and layer[2] in LAYER:
        return f"layers.{layer[1]}.{LAYER[layer[2]]}.{kind}"
    raise InputError(f"the tensor {name!r} has no place in a Llama")


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head in the order x_0, x_1, ... from x_0, x_{D/2}, x_1, x_{D/2 + 1}, ..."""
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)

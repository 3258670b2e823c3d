"""The same encoder-decoder in PyTorch: torch.nn.Transformer, with embedding, waves and loss."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from tinygrad_llm.models.encoder_decoder import EncoderDecoderConfig

NAMES = {  # beginnings of names within a layer: ours, PyTorch's
    "self_attn.in_proj.": "self_attn.in_proj_",
    "encoder_attn.in_proj.": "multihead_attn.in_proj_",
    "encoder_attn.": "multihead_attn.",
    "encoder_attn_layer_norm": "norm2",
    "self_attn_layer_norm": "norm1",
    "feed_forward.fc": "linear",
}


class TorchTransformer(nn.Module):
    """Ours, in training mode: dropout is where ours is, on embeddings and branches."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.drop = nn.Dropout(config.dropout)
        sizes = config.d_model, config.encoder_attention_heads
        shared = {
            "dim_feedforward": config.encoder_ffn_dim,
            "dropout": config.dropout,
            "activation": config.activation_function,
            "batch_first": True,
            "norm_first": config.pre_norm,
        }
        counts = config.encoder_layers, config.decoder_layers
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(*sizes, **shared),
            config.encoder_layers,
            nn.LayerNorm(config.d_model) if config.pre_norm else None,
            enable_nested_tensor=False,
        )
        self.layers = nn.Transformer(*sizes, *counts, custom_encoder=encoder, **shared)
        if not config.pre_norm:
            self.layers.decoder.norm = None
        for module in self.layers.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = config.attention_dropout
            elif hasattr(module, "linear1"):
                module.dropout.p = 0.0  # inside the feed-forward layer
        half = 10000.0 ** (-2 * torch.arange(config.d_model // 2) / config.d_model)
        angles = torch.outer(torch.arange(config.max_position_embeddings), half)
        self.register_buffer("waves", torch.cat([angles.sin(), angles.cos()], dim=1))

    def logits(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """source (B, S), target (B, T) -> (B, T, V)."""
        padding = source == self.config.pad_token_id
        padding = padding if padding.any() else None
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        states = self.layers(
            self._embed(source),
            self._embed(target),
            tgt_mask=mask,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return states @ self.shared.weight.T

    def forward(self, source, target, labels, label_smoothing: float = 0.0) -> torch.Tensor:
        """The mean loss of the labels (B, T) that are not -100."""
        logits = self.logits(source, target)
        return F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), label_smoothing=label_smoothing
        )

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.shared(ids) * math.sqrt(self.config.d_model)
        return self.drop(x + self.waves[: ids.shape[1]])

    def load_ours(self, state: dict) -> None:
        """Take the weights of an EncoderDecoder's state_dict."""
        found = {"waves": self.waves}
        for path, array in state.items():
            found[torch_name(path)] = torch.tensor(array)
        self.load_state_dict(found)


def torch_name(path: str) -> str:
    """Where TorchTransformer has the parameter that EncoderDecoder has at `path`."""
    side, *rest = path.split(".", 2)
    if side == "shared":
        return path
    if side.endswith("_norm"):
        return f"layers.{side.removesuffix('_norm')}.norm.{rest[0]}"
    name = rest[1]
    for ours, theirs in NAMES.items():
        if name.startswith(ours):
            name = theirs + name.removeprefix(ours)
    name = name.replace("final_layer_norm", "norm2" if side == "encoder" else "norm3")
    return f"layers.{side}.layers.{rest[0]}.{name}"

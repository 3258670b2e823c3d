"""A vision transformer: an image cut into patches is read as a text of patches.

Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.config import check_shape
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Dropout, LayerNorm, Linear, Module, MultiHeadAttention
from tinygrad_llm.nn.layers import constant, normal
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class ViTConfig:
    """The shape of a vision transformer; the defaults suit scikit-learn's digits."""

    image_size: int = 8  # pixels in a side of the image
    patch_size: int = 2  # pixels in a side of a patch
    num_channels: int = 1  # numbers in a pixel, C
    num_labels: int = 10  # classes
    hidden_size: int = 64  # width of every state, D
    num_hidden_layers: int = 3  # blocks
    num_attention_heads: int = 4  # H
    intermediate_size: int = 128  # width inside the feed-forward layer
    dropout: float = 0.1  # probability, on embeddings, attention weights and both branches

    def __post_init__(self) -> None:
        check_shape(self)
        for whole, part in (
            ("image_size", "patch_size"),
            ("hidden_size", "num_attention_heads"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise InputError(
                    f"{whole} {getattr(self, whole)} is not divisible by {part} "
                    f"{getattr(self, part)}"
                )


def patches(images: np.ndarray, size: int) -> np.ndarray:
    """images (B, C, H, W) -> their patches, row by row (B, H W / size^2, C size^2)."""
    batch, channels, height, width = images.shape
    cut = images.reshape(batch, channels, height // size, size, width // size, size)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * size * size)


class ViT(Module):
    """Images in, one score for each class out."""

    def __init__(self, config: ViTConfig, *, rng: np.random.Generator):
        self.config, width, size = config, config.hidden_size, config.patch_size
        count = (config.image_size // size) ** 2
        self.patch_embedding = Linear(config.num_channels * size * size, width, rng=rng)
        self.cls_token = constant((1, 1, width), 0.0)
        self.position_embeddings = normal((count + 1, width), 0.02, rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.layers = [Block(config, rng) for _ in range(config.num_hidden_layers)]
        self.norm = LayerNorm(width)
        self.classifier = Linear(width, config.num_labels, rng=rng)

    def forward(self, images: np.ndarray) -> Tensor:
        """images (B, C, H, W) -> scores (B, classes), from the state of a token before all
        patches.
        """
        config, images = self.config, np.asarray(images, np.float32)
        wanted = (config.num_channels, config.image_size, config.image_size)
        if images.ndim != 4 or images.shape[1:] != wanted:
            raise InputError(f"images of shape {images.shape}; the model reads (B, {wanted})")
        x = self.patch_embedding(Tensor(patches(images, config.patch_size)))  # (B, N, D)
        first = F.broadcast_to(self.cls_token, (len(images), 1, config.hidden_size))
        x = self.drop(F.concatenate([first, x], axis=1) + self.position_embeddings)
        for layer in self.layers:
            x = layer(x)
        return self.classifier(self.norm(x[:, 0]))


class Block(Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); every patch sees every other."""

    def __init__(self, config: ViTConfig, rng: np.random.Generator):
        width, p = config.hidden_size, config.dropout
        self.attention_norm = LayerNorm(width)
        self.attention = MultiHeadAttention(
            width, config.num_attention_heads, dropout=p, residual_dropout=p, rng=rng
        )
        self.mlp_norm = LayerNorm(width)
        self.intermediate = Linear(width, config.intermediate_size, rng=rng)
        self.output = Linear(config.intermediate_size, width, rng=rng)
        self.dropout, self.rng = p, rng

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.attention_norm(x), residual=x)
        parameters = (p for layer in (self.intermediate, self.output) for p in layer.parameters())
        normed = self.mlp_norm(x)
        return F.feed_forward(normed, *parameters, x, self.dropout, self.rng, self.training)

"""Layers: what every model is built from."""

from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.layers import Dropout, Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_llm.nn.module import Module

__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear", "Module", "MultiHeadAttention", "RMSNorm"]

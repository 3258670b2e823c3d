"""The contenders of benchmarks/training.py, each library in a file of its own."""

from __future__ import annotations

import importlib.util

OURS = "tinygrad_llm"
# name -> (the package it needs, its class)
PEERS = {
    OURS: ("tinygrad_llm", "benchmarks.peers.ours:Ours"),
    "pytorch": ("torch", "benchmarks.peers.pytorch:Eager"),
    "pytorch-fused": ("torch", "benchmarks.peers.pytorch:FusedAdamW"),
    "torch.compile": ("torch", "benchmarks.peers.pytorch:Compiled"),
    "jax": ("jax", "benchmarks.peers.jax_gpt:Jitted"),
    "tinygrad": ("tinygrad", "benchmarks.peers.tinygrad_gpt:Jitted"),
}


def installed() -> list[str]:
    """The names whose package is there."""
    return [name for name, (package, _) in PEERS.items() if importlib.util.find_spec(package)]

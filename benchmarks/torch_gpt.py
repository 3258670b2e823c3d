"""GPT-2 in PyTorch, as its users write it: F.scaled_dot_product_attention and tanh GELU."""

from __future__ import annotations

import math
import re

import torch
from torch import nn
from torch.nn import functional as F

# Our names of a block's matrices, and the names here
_NAMES = {"attn.in_proj": "qkv", "attn.out_proj": "out", "mlp.c_fc": "fc", "mlp.c_proj": "proj"}


class Block(nn.Module):
    """The transformer block of GPT-2."""

    def __init__(self, config):
        super().__init__()
        width, bias = config.n_embd, config.bias
        self.heads = config.n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.fc = nn.Linear(width, 4 * width, bias=bias)
        self.proj = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.ln_1(x)).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class TorchGPT(nn.Module):
    """GPT-2 with tied weights and GPT-2's initialization; called with ids and targets (B, T), it
    gives the mean loss.
    """

    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                residual = name.endswith(("out.weight", "proj.weight"))
                scale = 1 / math.sqrt(2 * config.n_layer) if residual else 1
                nn.init.normal_(p, std=scale * config.initializer_range)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def load_ours(model, state):
    """Copy the arrays of our GPT's state_dict into a TorchGPT of the same shape."""
    ours = re.compile("|".join(map(re.escape, _NAMES)))
    renamed = {ours.sub(lambda found: _NAMES[found[0]], name): x for name, x in state.items()}
    model.load_state_dict({name: torch.from_numpy(x) for name, x in renamed.items()})


def optimizer_for(model, *, lr, betas, eps, weight_decay, fused=False):
    """AdamW with decay on matrices alone."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=fused or None)

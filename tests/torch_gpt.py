"""GPT-2 in PyTorch, the yardstick of the comparisons: the same weights in, the same losses out."""

import torch
from torch.nn import functional as F


def load(model):
    """Our model's parameters as PyTorch leaves, by name."""
    return {
        name: torch.tensor(array, requires_grad=True) for name, array in model.state_dict().items()
    }


def forward(p, config, ids):
    """Logits (B, T, V) from the parameters `p`; the same architecture, with PyTorch's own
    operations.
    """
    ids = torch.as_tensor(ids)
    x = F.embedding(ids, p["wte.weight"]) + p["wpe.weight"][: ids.shape[1]]
    for i in range(config.n_layer):
        x = x + attention(p, f"h.{i}.attn", norm(p, f"h.{i}.ln_1", x, config), config)
        hidden = F.gelu(
            linear(p, f"h.{i}.mlp.c_fc", norm(p, f"h.{i}.ln_2", x, config)), approximate="tanh"
        )
        x = x + linear(p, f"h.{i}.mlp.c_proj", hidden)
    x = norm(p, "ln_f", x, config)
    return F.linear(x, p.get("lm_head.weight", p["wte.weight"]))


def attention(p, name, x, config):
    q, k, v = (
        part.unflatten(-1, (config.n_head, -1)).transpose(1, 2)
        for part in linear(p, f"{name}.in_proj", x).chunk(3, -1)
    )
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return linear(p, f"{name}.out_proj", y.transpose(1, 2).flatten(2))


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def norm(p, name, x, config):
    return F.layer_norm(
        x, (config.n_embd,), p[f"{name}.weight"], p.get(f"{name}.bias"), config.layer_norm_epsilon
    )


def loss(p, config, inputs, targets):
    logits = forward(p, config, inputs)
    return F.cross_entropy(logits.flatten(0, 1), torch.as_tensor(targets).flatten())


def optimizer(p, lr, config):
    """AdamW with decay on matrices alone."""
    groups = [
        {"params": [t for t in p.values() if t.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [t for t in p.values() if t.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(config.beta1, config.beta2), eps=config.eps)

"""The same training step in JAX: one function of weights, moments and a batch, compiled whole."""

import functools

import jax
import jax.numpy as jnp

from benchmarks.workloads import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, Trainer


class Jitted(Trainer):
    def build(self):
        state = self.workload.first_model().state_dict()
        self.weights = {name: jnp.array(x) for name, x in state.items()}
        self.moments = tuple(jax.tree.map(jnp.zeros_like, self.weights) for _ in range(2))
        self.count = 0
        step = functools.partial(update, self.workload.model)
        self.update = jax.jit(step, donate_argnums=(0, 1))

    def step(self, inputs, targets):
        self.count += 1
        loss, self.weights, self.moments = self.update(
            self.weights, self.moments, self.count, inputs, targets
        )
        jax.block_until_ready(self.weights)
        return float(loss)


def update(config, weights, moments, count, inputs, targets):
    """One step: (loss, weights, moments)."""
    value, gradients = jax.value_and_grad(loss)(weights, config, inputs, targets)
    norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradients.values()))
    scale = jnp.minimum(1.0, CLIP / norm)
    new, means, squares = {}, {}, {}
    for name, w in weights.items():
        g = gradients[name] * scale
        m = BETAS[0] * moments[0][name] + (1 - BETAS[0]) * g
        v = BETAS[1] * moments[1][name] + (1 - BETAS[1]) * g * g
        step = (m / (1 - BETAS[0] ** count)) / (jnp.sqrt(v / (1 - BETAS[1] ** count)) + EPS)
        decay = DECAY if w.ndim >= 2 else 0.0
        new[name] = w * (1 - LEARNING_RATE * decay) - LEARNING_RATE * step
        means[name], squares[name] = m, v
    return value, new, (means, squares)


def loss(weights, config, inputs, targets):
    """The mean of -log p(target)."""
    x = weights["wte.weight"][inputs] + weights["wpe.weight"][: inputs.shape[1]]
    for i in range(config.n_layer):
        x = block(weights, f"h.{i}", config, x)
    logits = norm(weights, "ln_f", config, x) @ weights["wte.weight"].T
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, targets[..., None], axis=-1))


def block(weights, name, config, x):
    qkv = linear(weights, f"{name}.attn.in_proj", norm(weights, f"{name}.ln_1", config, x))
    q, k, v = jnp.split(qkv.reshape(*x.shape[:2], 3 * config.n_head, -1), 3, axis=2)
    y = jax.nn.dot_product_attention(q, k, v, is_causal=True)  # (B, T, H, D)
    x = x + linear(weights, f"{name}.attn.out_proj", y.reshape(x.shape))
    hidden = linear(weights, f"{name}.mlp.c_fc", norm(weights, f"{name}.ln_2", config, x))
    return x + linear(weights, f"{name}.mlp.c_proj", jax.nn.gelu(hidden, approximate=True))


def linear(weights, name, x):
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def norm(weights, name, config, x):
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt(variance + config.layer_norm_epsilon) * weights[f"{name}.weight"]
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y

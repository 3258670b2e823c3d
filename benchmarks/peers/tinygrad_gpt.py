"""The same training step in tinygrad, under its TinyJit."""

from tinygrad import Tensor, TinyJit, nn
from tinygrad.helpers import TRAINING

from benchmarks.workloads import BETAS, CLIP, DECAY, EPS, LEARNING_RATE, Trainer


class Jitted(Trainer):
    def build(self):
        TRAINING.value = 1
        state = self.workload.first_model().state_dict()
        self.weights = {name: Tensor(x).realize() for name, x in state.items()}
        matrices = [w for w in self.weights.values() if w.ndim >= 2]
        vectors = [w for w in self.weights.values() if w.ndim < 2]
        self.optimizer = nn.optim.OptimizerGroup(
            *(
                nn.optim.AdamW(group, LEARNING_RATE, *BETAS, eps=EPS, weight_decay=decay)
                for group, decay in ((matrices, DECAY), (vectors, 0.0))
            )
        )
        self.update = TinyJit(self.compute)

    def step(self, inputs, targets):
        return self.update(Tensor(inputs).realize(), Tensor(targets).realize()).item()

    def compute(self, inputs, targets):
        self.optimizer.zero_grad()
        loss = self.logits(inputs).sparse_categorical_crossentropy(targets).backward()
        norm = sum((w.grad.square().sum() for w in self.optimizer.params), Tensor(0.0)).sqrt()
        scale = (CLIP / norm).minimum(1.0)
        for w in self.optimizer.params:
            w.grad = w.grad * scale
        return loss.realize(*self.optimizer.schedule_step())

    def logits(self, ids):
        p, config = self.weights, self.workload.model
        x = p["wte.weight"][ids] + p["wpe.weight"][: ids.shape[1]]
        for i in range(config.n_layer):
            x = self.block(f"h.{i}", x)
        return self.norm("ln_f", x) @ p["wte.weight"].T

    def block(self, name, x):
        heads = self.workload.model.n_head
        qkv = self.linear(f"{name}.attn.in_proj", self.norm(f"{name}.ln_1", x))
        q, k, v = (
            part.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for part in qkv.chunk(3, dim=-1)
        )
        y = q.scaled_dot_product_attention(k, v, is_causal=True)
        x = x + self.linear(f"{name}.attn.out_proj", y.transpose(1, 2).reshape(x.shape))
        hidden = self.linear(f"{name}.mlp.c_fc", self.norm(f"{name}.ln_2", x)).gelu()
        return x + self.linear(f"{name}.mlp.c_proj", hidden)

    def linear(self, name, x):
        return x.linear(self.weights[f"{name}.weight"].T, self.weights.get(f"{name}.bias"))

    def norm(self, name, x):
        y = x.layernorm(eps=self.workload.model.layer_norm_epsilon)
        y = y * self.weights[f"{name}.weight"]
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

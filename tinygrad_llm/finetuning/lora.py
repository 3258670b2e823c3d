"""LoRA: the weights stay as they are, and beside some of them a product of two narrow matrices
learns.

Hu et al. 2021, arXiv 2106.09685. Which layers it concerns is said in transformers' names, so that
q_proj means the rows of our in_proj that hold it. Files are peft_files.py's business.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.blocks import widened
from tinygrad_llm.errors import InputError, suggest
from tinygrad_llm.formats.family import Slot
from tinygrad_llm.formats.folder import family_of
from tinygrad_llm.nn import Embedding, Module
from tinygrad_llm.nn.layers import constant, uniform
from tinygrad_llm.tensor import Tensor

TARGETS = {"llama": ("q_proj", "v_proj"), "gpt2": ("c_attn",), "bert": ("query", "value")}  # PEFT's
HEAD = "lm_head.weight"  # the loss reads its weight and never calls it


@dataclass(frozen=True)
class LoRAConfig:
    """The shape of the adapters. Names as in the paper, whose r is the rank."""

    rank: int = 8  # of the product that is added to a weight; 0: no adapters, all weights train
    alpha: float = 16.0  # the product is multiplied by alpha / rank
    dropout: float = 0.0  # probability, on what an adapter reads
    targets: tuple[str, ...] | None = None  # layers in transformers' names; None: PEFT's choice

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise InputError(f"rank {self.rank} is below 0")
        if not 0 < self.alpha < math.inf:  # NaN too is refused
            raise InputError(f"alpha {self.alpha} must be a number above 0")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is not in [0, 1)")


class Adapter(Module):
    """B A for the rows [first, first + rows) of a weight: A (r, in_features) random, B (rows, r) 0.

    name: of the layer that transformers has in the place of these rows.
    """

    def __init__(self, slot: Slot, rank: int, rng: np.random.Generator):
        self.rows, inputs = reversed(slot.shape) if slot.transposed else slot.shape
        self.name, self.first = slot.name.removesuffix(".weight"), slot.first or 0
        self.lora_A = uniform((rank, inputs), 1 / math.sqrt(inputs), rng)  # Kaiming's, a = sqrt 5
        self.lora_B = constant((self.rows, rank), 0.0)


class LoRALinear(Module):
    """y = base(x) + (alpha / r) dropout(x) A^T B^T, for each adapter in its rows of y.

    base: a Linear, its weight a frozen Tensor or blocks of fewer bits, never copied, its gradient
    never computed. While the adapters are merged into the weight, y = base(x).
    """

    def __init__(
        self, base: Module, adapters: list[Adapter], config: LoRAConfig, rng: np.random.Generator
    ):
        self.base, self.adapters = base, sorted(adapters, key=lambda adapter: adapter.first)
        self.scale, self.dropout, self.rng = config.alpha / config.rank, config.dropout, rng
        self.merged = False
        self._blocks: np.ndarray | None = None  # base's weight, while floats stand in its place

    def forward(self, x: Tensor) -> Tensor:
        return self._adapted(self.base(x), x)

    def onto(
        self, residual: Tensor, x: Tensor, p: float = 0.0, rng: np.random.Generator | None = None
    ) -> Tensor:
        """residual + dropout(y), as Linear's."""
        if self.training and p > 0:
            return residual + F.dropout(self(x), p, rng)
        return self._adapted(self.base.onto(residual, x), x)

    def _adapted(self, y: Tensor, x: Tensor) -> Tensor:
        """y with what the adapters add: two narrow products, the second summed where y is read."""
        if self.merged:
            return y
        x = F.dropout(x, self.dropout, self.rng, self.training)
        a, b = self._joined(y.shape[-1])
        return F.linear_residual(F.linear(x, a) * self.scale, b, None, y)

    def _joined(self, width: int) -> tuple[Tensor, Tensor]:
        """A (n r, in_features) and B (width, n r) of all n adapters, each in its rows and columns
        of B.
        """
        if len(self.adapters) == 1 and self.adapters[0].rows == width:
            return self.adapters[0].lora_A, self.adapters[0].lora_B
        rank, columns = len(self.adapters[0].lora_A), sum(len(a.lora_A) for a in self.adapters)
        blocks, end = [], 0
        for i, adapter in enumerate(self.adapters):
            left, right = i * rank, columns - (i + 1) * rank
            sides = [np.zeros((adapter.rows, n), adapter.lora_B.dtype) for n in (left, right)]
            blocks.append(np.zeros((adapter.first - end, columns), adapter.lora_B.dtype))
            blocks.append(F.concatenate([sides[0], adapter.lora_B, sides[1]], axis=1))
            end = adapter.first + adapter.rows
        blocks.append(np.zeros((width - end, columns), self.adapters[0].lora_B.dtype))
        return F.concatenate([adapter.lora_A for adapter in self.adapters]), F.concatenate(blocks)

    def changed(self, sign: int) -> np.ndarray:
        """The weight of base, as floats, with what the adapters do to it added (1) or taken away
        (-1).
        """
        weight = self.base.weight
        weight = weight.data.copy() if isinstance(weight, Tensor) else widened(weight)
        for adapter in self.adapters:
            change = adapter.lora_B.data @ adapter.lora_A.data * (sign * self.scale)
            weight[adapter.first : adapter.first + adapter.rows] += change
        return weight

    def fold(self, sign: int) -> None:
        """Let the weight of base be the changed one. In place of blocks of 8 or 4 bits, which could
        not hold it, stand floats, until the change is taken away.
        """
        if self._blocks is not None:
            self.base.weight, self._blocks = self._blocks, None
        elif isinstance(self.base.weight, Tensor):
            self.base.weight.copy_(self.changed(sign))
        else:
            self._blocks, self.base.weight = self.base.weight, Tensor(self.changed(sign))
        self.merged = sign > 0


def add_lora(
    model: Module,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    dropout: float = 0.0,
    targets: Collection[str] | None = None,
    rng: np.random.Generator,
) -> list[Tensor]:
    """Freeze a model of a family that transformers knows and give it adapters; its outputs do not
    change yet. Returns the parameters that now train.

    targets: names of linear layers in transformers' model, such as q_proj, c_attn or dense, or ends
    of their full names. rng: what the adapters and their dropout draw from.
    """
    config = LoRAConfig(rank, alpha, dropout, None if targets is None else tuple(targets))
    if rank == 0:
        raise InputError("rank 0: an adapter has a rank of at least 1")
    if any(lora_layers(model)):
        raise InputError("the model has adapters already; merge or remove them first")
    layers: dict[str, list[Adapter]] = {}
    for slot in _chosen(model, config.targets):
        path = slot.parameter.removesuffix(".weight")
        layers.setdefault(path, []).append(Adapter(slot, rank, rng))
    model.requires_grad_(False)
    modules = dict(model.named_modules())
    for path, adapters in layers.items():
        layer = LoRALinear(modules[path], adapters, config, rng)
        _replace(modules, path, layer.train(model.training))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _chosen(model: Module, targets: Collection[str] | None) -> list[Slot]:
    """The slots of the layers that the targets name."""
    family = family_of(model)
    if targets is None and family.model_type not in TARGETS:
        raise InputError(f"no targets are known for {family.model_type}; name some")
    slots = list(_adaptable(model))
    names = [slot.name.removesuffix(".weight") for slot in slots]
    chosen: set[int] = set()
    for target in TARGETS[family.model_type] if targets is None else targets:
        found = [i for i, name in enumerate(names) if f".{name}".endswith(f".{target}")]
        if not found:
            raise suggest(target, {name.rpartition(".")[2] for name in names}, "target")
        chosen.update(found)
    if not chosen:
        raise InputError("no targets are given, so nothing would train; name some, such as q_proj")
    return [slots[i] for i in sorted(chosen)]


def _adaptable(model: Module) -> Iterator[Slot]:
    """The weights of the layers that an adapter can stand beside."""
    modules = dict(model.named_modules())
    for slot in family_of(model).slots(model.config):
        layer = modules.get(slot.parameter.removesuffix(".weight"))
        matrix = slot.name.endswith(".weight") and len(slot.shape) == 2 and slot.in_model
        if matrix and not (layer is None or isinstance(layer, Embedding) or slot.parameter == HEAD):
            yield slot


def _replace(modules: dict[str, Module], path: str, layer: Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(modules[parent], name, layer)


def lora_layers(model: Module) -> Iterator[tuple[str, LoRALinear]]:
    """(path, layer) of every layer with adapters."""
    return ((p, layer) for p, layer in model.named_modules() if isinstance(layer, LoRALinear))


def merge(model: Module) -> None:
    """Add the adapters to the weights, so that they cost no time; what the model computes stays."""
    for _, layer in lora_layers(model):
        if not layer.merged:
            layer.fold(1)


def unmerge(model: Module) -> None:
    """Take merged adapters out of the weights again, but for float32's rounding."""
    for _, layer in lora_layers(model):
        if layer.merged:
            layer.fold(-1)


def remove_lora(model: Module) -> None:
    """Put the plain layers back, still frozen; what adapters learned stays where it was merged."""
    modules = dict(model.named_modules())
    for path, layer in list(lora_layers(model)):
        _replace(modules, path, layer.base)


@contextmanager
def folded(model: Module) -> Iterator[None]:
    """In this block the model is plain, its weights what they and the adapters are together; then
    the layers come back as they were, bit for bit, which merging and unmerging would not give.
    """
    modules, layers = dict(model.named_modules()), list(lora_layers(model))
    for path, layer in layers:
        plain = copy.copy(layer.base)
        plain.weight = Tensor(layer.base.weight.data if layer.merged else layer.changed(1))
        _replace(modules, path, plain)
    try:
        yield
    finally:
        for path, layer in layers:
            _replace(modules, path, layer)


def num_trained(model: Module) -> int:
    """How many of the parameters require a gradient."""
    return sum(p.size for p in model.parameters() if p.requires_grad)

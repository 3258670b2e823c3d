"""A classifier: a language model whose last layer is replaced by one that scores labels.

Radford et al. 2018 read a text from the state of its last token, Devlin et al. 2019 from that of
the first; the mean of all is Reimers and Gurevych 2019, arXiv 1908.10084.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.models.bert import Bert, mean_pooled
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.models.llama import Llama
from tinygrad_llm.nn import Dropout, Linear, Module
from tinygrad_llm.nn.layers import constant, normal
from tinygrad_llm.tensor import Tensor


class Parts(NamedTuple):
    """Names of a trunk's parts: below its blocks, they themselves, and what reads the last state;
    how it may be pooled; the width of its states and the longest text, in its configuration.
    """

    embeddings: tuple[str, ...]
    blocks: str
    last: str
    poolings: tuple[str, ...]
    width: str = "hidden_size"
    context: str = "max_position_embeddings"


PARTS = {
    GPT: Parts(("wte", "wpe", "drop"), "h", "ln_f", ("last",), "n_embd", "n_positions"),
    Llama: Parts(("embed_tokens",), "layers", "norm", ("last",)),
    Bert: Parts(("embeddings",), "layers", "pooler", ("mean", "cls")),
}
STD = 0.02  # of the fresh head's weights


class Classifier(Module):
    """Texts in, one score for each label out. It takes its trunk over: that one loses its old head.

    labels: in the order of the scores. pooling: which state stands for a text: "last", that of its
    last token, for a GPT or a Llama; for a Bert "cls", that of the first, or "mean". frozen: how
    many blocks, and all that is below them, do not train. rng: of the head, and of dropout on it.
    """

    def __init__(
        self,
        trunk: GPT | Llama | Bert,
        labels: Sequence[str],
        *,
        pooling: str | None = None,
        rng: np.random.Generator,
    ):
        self.parts = parts = _parts(trunk)
        self.labels, self.trunk, self.frozen = tuple(labels), trunk, 0
        self.pooling = pooling or parts.poolings[0]
        if self.pooling not in parts.poolings:
            raise InputError(
                f"a {type(trunk).__name__} is not pooled by {self.pooling!r:.40}; "
                f"there is {' and '.join(parts.poolings)}"
            )
        width, encoder = getattr(trunk.config, parts.width), isinstance(trunk, Bert)
        if encoder:
            trunk.head, cls = None, self.pooling == "cls"
            trunk.pooler = (trunk.pooler or Linear(width, width, rng=rng)) if cls else None
        else:
            trunk.lm_head = None
        self.drop = Dropout(trunk.config.hidden_dropout_prob if encoder else 0.0, rng=rng)
        self.score = Linear(width, len(self.labels), bias=encoder, rng=rng)
        self.score.weight = normal(self.score.weight.shape, STD, rng)
        if encoder:
            self.score.bias = constant(self.score.bias.shape, 0.0)

    @property
    def blocks(self) -> list[Module]:
        """The trunk's blocks, from the first one on."""
        return getattr(self.trunk, self.parts.blocks)

    @property
    def context(self) -> int:
        """The longest text, in tokens."""
        return getattr(self.trunk.config, self.parts.context)

    def forward(self, inputs: np.ndarray, lengths: np.ndarray) -> Tensor:
        """inputs -> scores (B, C). lengths (B,): how many tokens of each text are no padding.

        inputs: ids (B, T), padded behind the text, or what `below` made of them. The scores of a
        text of no tokens mean nothing.
        """
        x = self.below(inputs, lengths) if inputs.dtype.kind in "iu" else Tensor(inputs)
        return self.above(x, lengths)

    def below(self, ids: np.ndarray, lengths: np.ndarray) -> Tensor:
        """ids (B, T) -> what the part that trains reads: the states (B, T, D) above the frozen
        blocks, or where all are frozen, one vector for each text (B, D).
        """
        x = self.trunk.embed(ids)
        x = self._through(x, lengths, 0, self.frozen)
        return self._pooled(x, lengths) if self._all_frozen() else x

    def above(self, x: Tensor, lengths: np.ndarray) -> Tensor:
        """What `below` gave -> scores (B, C)."""
        if not self._all_frozen():
            x = self._pooled(self._through(x, lengths, self.frozen, None), lengths)
        return self.score(self.drop(x))

    def freeze(self, blocks: int) -> Classifier:
        """Keep the embeddings and so many blocks as they are; with all of them, all but the head.

        Frozen parts stay in evaluation mode, so their activations can be kept. Returns self.
        """
        if not 0 <= blocks <= len(self.blocks):
            raise InputError(f"{blocks} blocks cannot be frozen; the model has {len(self.blocks)}")
        self.frozen = blocks
        for module in self._frozen_modules():
            module.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Classifier:
        """Switch dropout on in the parts that train, or off everywhere."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _all_frozen(self) -> bool:
        return self.frozen == len(self.blocks)

    def _frozen_modules(self) -> list[Module]:
        if self._all_frozen():
            return [self.trunk]
        embeddings = [getattr(self.trunk, name) for name in self.parts.embeddings]
        return [*embeddings, *self.blocks[: self.frozen]] if self.frozen else []

    def _through(self, x: Tensor, lengths: np.ndarray, first: int, end: int | None) -> Tensor:
        if isinstance(self.trunk, Bert):
            mask = _tokens(lengths, x.shape[1])
            return self.trunk.through(x, first, end, attention_mask=mask)
        return self.trunk.through(x, first, end)  # no token sees the padding behind it

    def _pooled(self, x: Tensor, lengths: np.ndarray) -> Tensor:
        """States after the last block (B, T, D) -> a vector for each text (B, D)."""
        if self.pooling == "mean":
            return mean_pooled(x, _tokens(lengths, x.shape[1]))
        if self.pooling == "cls":
            return self.trunk.pooled(x)
        size, length, width = x.shape
        last = np.arange(size) * length + np.maximum(lengths - 1, 0)
        rows = F.embedding(last, x.reshape(-1, width))  # embedding gathers rows
        return getattr(self.trunk, self.parts.last)(rows)


def _parts(trunk: Module) -> Parts:
    for kind, parts in PARTS.items():
        if isinstance(trunk, kind):
            return parts
    raise InputError(
        f"a {type(trunk).__name__} cannot become a classifier; take a "
        f"{' or a '.join(kind.__name__ for kind in PARTS)}"
    )


def _tokens(lengths: np.ndarray, length: int) -> np.ndarray:
    """True where a text has a token, (B, T)."""
    return np.arange(length) < lengths[:, None]

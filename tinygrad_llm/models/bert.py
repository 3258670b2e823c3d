"""BERT: the encoder of the transformer alone; each position sees both sides of the text.

Devlin et al. 2019, arXiv 1810.04805. Norms stand after each addition, and GELU is the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.config import check_shape
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import Dropout, Embedding, LayerNorm, Linear, Module, MultiHeadAttention
from tinygrad_llm.nn.layers import are_plain, constant, normal, token_ids
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT. Names are those of Hugging Face's BertConfig; the defaults are BERT
    base.
    """

    vocab_size: int = 30522  # tokens in the vocabulary, V
    hidden_size: int = 768  # width of every state, D
    num_hidden_layers: int = 12  # blocks
    num_attention_heads: int = 12  # H
    intermediate_size: int = 3072  # width inside the feed-forward layer
    max_position_embeddings: int = 512  # the longest text, in tokens
    type_vocab_size: int = 2  # segments: the first text is 0, the second 1
    hidden_dropout_prob: float = 0.1  # probability, on embeddings and both branches
    attention_probs_dropout_prob: float = 0.1  # probability, on attention weights
    layer_norm_eps: float = 1e-12  # added to the variance
    initializer_range: float = 0.02  # standard deviation of fresh weights

    def __post_init__(self) -> None:
        check_shape(self)
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads "
                f"{self.num_attention_heads}"
            )
        for name in ("layer_norm_eps", "initializer_range"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} is not in (0, 1)")

    @property
    def n_positions(self) -> int:
        """GPT's name for max_position_embeddings, which training asks every model for."""
        return self.max_position_embeddings

    @property
    def n_layer(self) -> int:
        """GPT's name for num_hidden_layers, which training asks every model for."""
        return self.num_hidden_layers


# Only a seventh of the tokens teach it anything, and at first it learns no more than how often each
# token comes. Short texts, of which many make a batch, few layers and first weights of 0.05 bring
# it past that: with 0.02 it was not past it after 1,000 steps, with 0.1 and 4 layers after 2,500.
PRESETS = {
    "bert": BertConfig(
        vocab_size=2048,
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
    ),
}


class Bert(Module):
    """Token ids in, one state for each position out, made from all of the text."""

    def __init__(self, config: BertConfig, *, pooler: bool = True, rng: np.random.Generator):
        self.config = config
        self.embeddings = Embeddings(config, rng)
        self.layers = [Block(config, rng) for _ in range(config.num_hidden_layers)]
        self.pooler = Linear(config.hidden_size, config.hidden_size, rng=rng) if pooler else None
        _initialize(self, config.initializer_range, rng)

    def forward(
        self,
        ids: np.ndarray,
        *,
        attention_mask: np.ndarray | None = None,
        token_type_ids: np.ndarray | None = None,
    ) -> Tensor:
        """ids (B, T) -> the states of the last layer (B, T, D).

        attention_mask (B, T): 1 or True for tokens, 0 or False for padding, which no token sees;
        the states of padding mean nothing. token_type_ids (B, T): the segment of each token.
        """
        return self.hidden(ids, attention_mask=attention_mask, token_type_ids=token_type_ids)

    def hidden(
        self,
        ids: np.ndarray,
        *,
        attention_mask: np.ndarray | None = None,
        token_type_ids: np.ndarray | None = None,
    ) -> Tensor:
        """The states (B, T, D), in the masked language model too; arguments as in forward."""
        x = self.embed(ids, token_type_ids)
        return self.through(x, attention_mask=attention_mask)

    def embed(self, ids: np.ndarray, token_type_ids: np.ndarray | None = None) -> Tensor:
        """ids (B, T) -> what the first block reads (B, T, D)."""
        ids = token_ids(ids, self.config.max_position_embeddings)
        return self.embeddings(ids, token_type_ids)

    def through(
        self,
        x: Tensor,
        first: int = 0,
        end: int | None = None,
        *,
        attention_mask: np.ndarray | None = None,
    ) -> Tensor:
        """What block number `first` reads -> what the one before `end` gives, or the last one; all
        (B, T, D).
        """
        mask = _seen(attention_mask, x.shape[:2])
        for layer in self.layers[first:end]:
            x = layer(x, mask)
        return x

    def pooled(self, hidden: Tensor) -> Tensor:
        """The state of the first token, which stands for the whole text: (B, T, D) -> (B, D)."""
        if self.pooler is None:
            raise InputError("this model has no pooler; take hidden[:, 0], or the mean of hidden")
        return F.tanh(self.pooler(hidden[:, 0]))


class BertForMaskedLM(Bert):
    """A BERT that says which token stood in each place: what it is pretrained for."""

    def __init__(self, config: BertConfig, *, pooler: bool = False, rng: np.random.Generator):
        super().__init__(config, pooler=pooler, rng=rng)
        self.head = MaskedLMHead(config, rng)
        _initialize(self.head, config.initializer_range, rng)
        self.head.decoder.weight = self.embeddings.word_embeddings.weight

    def forward(
        self,
        ids: np.ndarray,
        *,
        attention_mask: np.ndarray | None = None,
        token_type_ids: np.ndarray | None = None,
    ) -> Tensor:
        """ids (B, T) -> the scores of every token in each place (B, T, V)."""
        return self.head(
            self.hidden(ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        )


class Embeddings(Module):
    """The sum of what a token, its place and its segment say, normalized."""

    def __init__(self, config: BertConfig, rng: np.random.Generator):
        width = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, width, rng=rng)
        self.position_embeddings = Embedding(config.max_position_embeddings, width, rng=rng)
        self.token_type_embeddings = Embedding(config.type_vocab_size, width, rng=rng)
        self.norm = LayerNorm(width, eps=config.layer_norm_eps)
        self.drop = Dropout(config.hidden_dropout_prob, rng=rng)

    def forward(self, ids: np.ndarray, token_type_ids: np.ndarray | None = None) -> Tensor:
        segments = np.zeros_like(ids) if token_type_ids is None else np.asarray(token_type_ids)
        places = self.position_embeddings(np.arange(ids.shape[1]))
        x = self.word_embeddings(ids) + self.token_type_embeddings(segments) + places
        return self.drop(self.norm(x))


class Block(Module):
    """norm(x + attention(x)), then norm(x + mlp(x))."""

    def __init__(self, config: BertConfig, rng: np.random.Generator):
        width, eps = config.hidden_size, config.layer_norm_eps
        self.attention = MultiHeadAttention(
            width,
            config.num_attention_heads,
            dropout=config.attention_probs_dropout_prob,
            residual_dropout=config.hidden_dropout_prob,
            rng=rng,
        )
        self.attention_norm = LayerNorm(width, eps=eps)
        self.intermediate = Linear(width, config.intermediate_size, rng=rng)
        self.output = Linear(config.intermediate_size, width, rng=rng)
        self.output_norm = LayerNorm(width, eps=eps)
        self.dropout, self.rng = config.hidden_dropout_prob, rng

    def forward(self, x: Tensor, mask: np.ndarray | None = None) -> Tensor:
        x = self.attention_norm(self.attention(x, mask=mask, residual=x))
        return self.output_norm(self._feed_forward(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        """x + dropout(output(GELU(intermediate(x))))."""
        into, out = self.intermediate, self.output
        if not are_plain(into, out):
            return out.onto(x, F.gelu(into(x)), self.dropout, self.rng)
        parameters = into.weight, into.bias, out.weight, out.bias
        return F.feed_forward(x, *parameters, x, self.dropout, self.rng, self.training)


class MaskedLMHead(Module):
    """A state (..., D) -> scores of all tokens (..., V): a layer, GELU, a norm, the embedding."""

    def __init__(self, config: BertConfig, rng: np.random.Generator):
        self.dense = Linear(config.hidden_size, config.hidden_size, rng=rng)
        self.norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = Linear(config.hidden_size, config.vocab_size, rng=rng)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.norm(F.gelu(self.dense(hidden))))


def mean_pooled(hidden: Tensor, attention_mask: np.ndarray) -> Tensor:
    """The mean of a text's states, (B, T, D) -> (B, D); attention_mask (B, T) leaves padding out.

    The vector of a text in Reimers and Gurevych 2019, arXiv 1908.10084; MiniLM was trained for it.
    """
    counts = (np.asarray(attention_mask) != 0).astype(hidden.dtype)[..., None]
    return (hidden * counts).sum(1) / np.maximum(counts.sum(1), 1)


def _initialize(module: Module, std: float, rng: np.random.Generator) -> None:
    """Weights N(0, std^2), biases 0; the norms stay as they are."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 2:
            parameter.copy_(normal(parameter.shape, std, rng))
        elif name.endswith("bias"):
            parameter.copy_(constant(parameter.shape, 0.0))


def _seen(attention_mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of attention (B, 1, 1, S) that hides padding."""
    if attention_mask is None:
        return None
    attention_mask = np.asarray(attention_mask)
    if attention_mask.shape != shape:
        raise InputError(f"attention_mask has shape {attention_mask.shape}, but the ids {shape}")
    return (attention_mask != 0)[:, None, None, :]

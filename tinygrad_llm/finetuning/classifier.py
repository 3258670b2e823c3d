"""Teaching a Classifier: padded batches, the loss, the score, and what a frozen trunk makes of each
text, computed once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.confusion import Confusion
from tinygrad_llm.finetuning.epochs import Epochs
from tinygrad_llm.models.classifier import Classifier
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.text import Tokenizer, WordPieceTokenizer
from tinygrad_llm.training.objectives import IGNORE, Loss

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # ids or states, lengths, targets
TOKENS = 4096  # in one forward pass, padding included, where no gradient is wanted


def encode_texts(tokenizer: Tokenizer, texts: Iterable[str], most: int) -> list[np.ndarray]:
    """The ids of each text, of which `most` tokens count; with [CLS] and [SEP] where BERT's
    tokenizer puts them. InputError where these two leave no room for a text, or for a text with
    a character that the tokenizer does not know.
    """
    wrap = tokenizer.wrap if isinstance(tokenizer, WordPieceTokenizer) else list
    room = most - len(wrap([]))
    if room < 1:
        raise InputError(
            f"max_length {most} leaves no room for a text beside the {len(wrap([]))} tokens that "
            "the base puts around it; raise max_length"
        )
    rows = []
    for text in texts:
        try:
            ids = tokenizer.encode(text)
        except InputError as error:
            raise InputError(f"the text {text!r:.60} cannot be read: {error}") from None
        rows.append(np.array(wrap(ids[:room]), np.int64))
    return rows


def collate(rows: Sequence[np.ndarray], targets: Sequence[int]) -> Batch:
    """Texts of ids (T,), of states (T, D), or of one vector each (D,), as one padded batch."""
    lengths = np.array([len(row) for row in rows])
    inputs = np.zeros((len(rows), max(lengths.max(), 1), *rows[0].shape[1:]), rows[0].dtype)
    for i, row in enumerate(rows):
        inputs[i, : len(row)] = row
    return inputs, lengths, np.asarray(targets)


def epochs(
    rows: Sequence[np.ndarray], targets: np.ndarray, *, batch_size: int, rng: np.random.Generator
) -> Epochs:
    """Endless padded batches of texts and their labels' numbers, those of like length together."""
    lengths = [len(row) for row in rows]
    return Epochs(
        lengths,
        lambda some: collate([rows[i] for i in some], targets[some]),
        batch_size=batch_size,
        rng=rng,
    )


def in_order(rows: Sequence[np.ndarray], targets: Sequence[int]) -> Iterator[Batch]:
    """All texts in batches of at most TOKENS tokens, the shortest first."""
    for some in _by_length(rows):
        yield collate([rows[i] for i in some], [targets[i] for i in some])


def _by_length(rows: Sequence[np.ndarray]) -> Iterator[list[int]]:
    some: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        if some and (len(some) + 1) * len(rows[i]) > TOKENS:
            yield some
            some = []
        some.append(i)
    if some:
        yield some


def label_loss(weights: np.ndarray) -> Callable[..., Loss]:
    """The objective -w log p(label), summed over the texts; weights (C,): w of each label.

    A target of -100 does not count. The count is that of the texts, whatever they weigh.
    """
    weights = np.asarray(weights, np.float32)

    def objective(
        model: Classifier, inputs: np.ndarray, lengths: np.ndarray, targets: np.ndarray
    ) -> Loss:
        log_p = model(inputs, lengths).log_softmax(-1)  # (B, C)
        counts = targets != IGNORE
        share = np.zeros(log_p.shape, np.float32)
        share[counts, targets[counts]] = weights[targets[counts]]
        return Loss(-(log_p * share).sum(), int(counts.sum()))

    return objective


def keep(
    model: Classifier,
    rows: Sequence[np.ndarray],
    progress: Callable[[int], object] = lambda done: None,
) -> list[np.ndarray]:
    """What the frozen part makes of each text: its states (T, D), or its vector (D,).

    progress is told of texts that are done.
    """
    kept: list[np.ndarray] = [np.empty(0)] * len(rows)
    with no_grad():
        for some in _by_length(rows):
            ids, lengths, _ = collate([rows[i] for i in some], some)
            states = model.below(ids, lengths).data
            for i, own in zip(some, states, strict=True):
                kept[i] = (own[: len(rows[i])] if own.ndim == 2 else own).copy()
            progress(len(some))
    return kept


def predict(model: Classifier, rows: Sequence[np.ndarray]) -> np.ndarray:
    """The probability of each label for each text, (N, C)."""
    found = np.empty((len(rows), len(model.labels)), np.float32)
    was_training = model.training
    model.eval()
    with no_grad():
        for some in _by_length(rows):
            inputs, lengths, _ = collate([rows[i] for i in some], some)
            found[some] = model(inputs, lengths).softmax(-1).data
    model.train(was_training)
    return found


def evaluate(model: Classifier, rows: Sequence[np.ndarray], targets: np.ndarray) -> Confusion:
    """How often each label is taken for which, and the mean of -log p(label)."""
    p = predict(model, rows)
    return Confusion.of(model.labels, targets, p)

"""Teaching a classifier: padding, order and accumulation change neither loss nor gradient, a row
that does not count has no weight, and what is kept of a frozen trunk gives the same training.
"""

import numpy as np
import pytest

from tests.test_classifier_model import KINDS, LAYERS, V, classifier, rng, texts
from tests.test_encode import TOKENIZER as WORDPIECE
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.classifier import (
    TOKENS,
    _by_length,
    collate,
    encode_texts,
    epochs,
    evaluate,
    in_order,
    keep,
    label_loss,
    predict,
)
from tinygrad_llm.text import ByteTokenizer, CharTokenizer
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import IGNORE
from tinygrad_llm.training.optimizer import AdamW

WEIGHTS = np.array([0.5, 1.5, 1.0])
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


def batch(rows=6):
    ids, lengths = texts(rows)
    return ids, lengths, rng(5).integers(0, 3, rows)


def gradients(model, *parts):
    """(mean loss, every gradient) of an update from these parts, as the loop makes it."""
    optimizer = AdamW(model.parameters())
    loss, _, count = train_step(
        model.eval(), label_loss(WEIGHTS), optimizer, parts, lr=0.0, clip=0.0, rng=rng()
    )
    return loss, optimizer.gradients / count


def permuted(part, order):
    return tuple(array[order] for array in part)


def variants(part):
    ids, lengths, targets = part
    wider = np.concatenate([ids, rng(7).integers(1, V, (len(ids), 3))], axis=1)
    empty = np.concatenate([ids, ids[:1]]), np.append(lengths, 0), np.append(targets, IGNORE)
    return {
        "padded wider": [(wider, lengths, targets)],
        "reordered": [permuted(part, [3, 0, 5, 1, 4, 2])],
        "accumulated": [permuted(part, [0]), permuted(part, [1, 2, 3]), permuted(part, [4, 5])],
        "with a row of padding alone": [empty],
    }


@pytest.mark.parametrize("name", variants(batch()))
@pytest.mark.parametrize("kind", KINDS)
def test_neither_loss_nor_gradient_changes(kind, name):
    loss, wanted = gradients(classifier(kind), batch())
    other, found = gradients(classifier(kind), *variants(batch())[name])
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(other, loss, **TOLERANCE)
    np.testing.assert_allclose(found, wanted, **TOLERANCE)


def test_the_loss_is_that_of_torch():
    torch = pytest.importorskip("torch", reason="pip install torch")
    model, (ids, lengths, targets) = classifier("gpt").eval(), batch()
    targets[2] = IGNORE
    logits = torch.tensor(model(ids, lengths).data)
    wanted = torch.nn.functional.cross_entropy(
        logits, torch.tensor(targets), weight=torch.tensor(WEIGHTS).float(), reduction="sum"
    )
    loss = label_loss(WEIGHTS)(model, ids, lengths, targets)
    assert loss.total.item() == pytest.approx(wanted.item(), rel=1e-5) and loss.tokens == 5


@pytest.mark.parametrize("frozen", [1, LAYERS])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_trains_as_the_texts_do(kind, frozen):
    model = classifier(kind).freeze(frozen)
    ids, lengths, targets = batch()
    rows = [row[:length] for row, length in zip(ids, lengths)]
    done = []
    kept = keep(model.eval(), rows, done.append)
    assert sum(done) == 6 and {row.dtype for row in kept} == {np.dtype("float32")}
    loss, wanted = gradients(classifier(kind).freeze(frozen), (ids, lengths, targets))
    other, found = gradients(classifier(kind).freeze(frozen), collate(kept, targets))
    np.testing.assert_allclose(other, loss, **TOLERANCE)
    np.testing.assert_allclose(found, wanted, **TOLERANCE)
    np.testing.assert_allclose(predict(model, kept), predict(model, rows), **TOLERANCE)


def test_batches_in_order_hold_every_text_once_and_few_tokens():
    rows = [np.full(n, i) for i, n in enumerate(rng().integers(1, 900, 50).tolist())]
    groups = list(_by_length(rows))
    assert sorted(i for some in groups for i in some) == list(range(50))
    assert all(len(some) * max(len(rows[i]) for i in some) <= TOKENS for some in groups)
    targets = np.arange(50)
    for ids, lengths, numbers in in_order(rows, targets):
        for row, length, number in zip(ids, lengths, numbers):
            assert (row[:length] == number).all() and not row[length:].any()


def test_evaluation_leaves_the_mode_alone_and_agrees_with_predictions():
    model, (ids, lengths, targets) = classifier("bert").train(), batch()
    rows = [row[:length] for row, length in zip(ids, lengths)]
    found = evaluate(model, rows, targets)
    assert model.training and model.trunk.training
    assert found.accuracy == np.mean(predict(model, rows).argmax(1) == targets)
    assert found.labels == model.labels and found.counts.sum() == 6


@pytest.mark.parametrize("most", [1, 2])
def test_what_leaves_no_room_for_a_text_is_refused(most):
    with pytest.raises(InputError, match=f"max_length {most} leaves no room .* the 2 tokens"):
        encode_texts(WORDPIECE, ["the fox"], most)
    assert len(encode_texts(WORDPIECE, ["the fox"], 3)[0]) == 3


def test_a_text_of_unknown_characters_is_named():
    with pytest.raises(InputError, match="the text 'xyz' cannot be read: character 'z'"):
        encode_texts(CharTokenizer.train(["xy"]), ["xy", "xyz"], 2)


def test_texts_are_cut_and_wrapped(minilm):
    from tinygrad_llm.text import load_tokenizer

    assert [row.tolist() for row in encode_texts(ByteTokenizer(), ["abc", "d"], 2)] == [
        [97, 98],
        [100],
    ]
    tokenizer = load_tokenizer(minilm)
    row = encode_texts(tokenizer, ["one two three four"], 5)[0].tolist()
    assert row == tokenizer.wrap(tokenizer.encode("one two three"))


def test_an_epoch_is_every_text_once_with_its_label():
    rows = [np.full(n, n) for n in (3, 1, 5, 2, 4)]
    stream = epochs(rows, np.arange(5) + 10, batch_size=2, rng=np.random.default_rng(0))
    seen = []
    for _ in range(len(stream)):
        ids, lengths, targets = next(stream)
        assert ((ids > 0).sum(1) == lengths).all()
        seen += zip(lengths.tolist(), targets.tolist(), strict=True)
    assert sorted(seen) == [(1, 11), (2, 13), (3, 10), (4, 14), (5, 12)]

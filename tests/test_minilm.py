"""MiniLM-L6 from its PyPI package: states and sentence vectors beside transformers."""

import numpy as np
import pytest

from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.models.bert import mean_pooled
from tinygrad_llm.tensor import no_grad

SENTENCES = [
    "A man is eating food.",
    "Someone has a meal.",
    "The girl is carrying a baby.",
    "A woman is playing the violin.",
    "Two men pushed carts through the woods.",
    "Padding must change nothing.",
    "It's 3:45 p.m. already!",
    "Zürich, São Paulo and Kraków are cities.",
    "antidisestablishmentarianism",
    "日本語 and Ελληνικά",
    "?",
    "Short.",
    "The transformer of 2017 had an encoder and a decoder; BERT is made from its encoder alone, "
    "and reads a text from both of its ends at once, which no model that writes can do.",
    "prices rose by 12.5% in 2023",
    "def f(x): return x + 1",
    "  spaces   everywhere  ",
    "UPPER CASE IS LOWERED",
    "e-mail me @ home",
    "One.",
    "The last of twenty sentences.",
]


@pytest.fixture(scope="module")
def batch(minilm):
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    return dict(tokenizer(SENTENCES, padding=True, return_tensors="np"))


@pytest.fixture(scope="module")
def states(minilm, batch):
    """(ours, theirs): the last hidden states of one padded batch, (20, T, 384)."""
    torch = pytest.importorskip("torch", reason="pip install torch")
    import transformers

    theirs = transformers.AutoModel.from_pretrained(minilm).eval()
    with torch.no_grad():
        found = theirs(**{name: torch.tensor(x) for name, x in batch.items()}).last_hidden_state
    return hidden(load_model(minilm), batch), found.numpy()


def hidden(model, batch):
    with no_grad():
        return model(
            batch["input_ids"],
            attention_mask=batch["attention_mask"],
            token_type_ids=batch["token_type_ids"],
        )


def normalized(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_states_are_those_of_transformers(states, batch):
    ours, theirs = states
    tokens = batch["attention_mask"] == 1
    assert len(tokens) == 20 and not tokens.all()
    np.testing.assert_allclose(ours.data[tokens], theirs[tokens], rtol=0, atol=1e-4)


def test_mean_pooled_vectors_are_those_of_transformers(states, batch):
    ours, theirs = states
    mask = batch["attention_mask"]
    expected = (theirs * mask[..., None]).sum(1) / mask.sum(1)[:, None]
    found = mean_pooled(ours, mask).data
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    similar = normalized(found) @ normalized(found).T
    assert similar[0, 1] > 0.5 > similar[0, 2]


def test_a_sentence_alone_has_the_vector_that_it_has_in_the_padded_batch(minilm, states, batch):
    model, together = load_model(minilm), mean_pooled(states[0], batch["attention_mask"]).data
    for row, length in enumerate(batch["attention_mask"].sum(1)):
        one = {name: x[row : row + 1, :length] for name, x in batch.items()}
        alone = mean_pooled(hidden(model, one), one["attention_mask"]).data[0]
        np.testing.assert_allclose(alone, together[row], rtol=0, atol=1e-4)

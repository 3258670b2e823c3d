"""The baseline: its products are those of the full matrix, its optimum is one, and it learns."""

import numpy as np
import pytest

from tinygrad_llm.finetuning import bag_of_words
from tinygrad_llm.finetuning.bag_of_words import BagOfWords, Counts

TEXTS = ["a b a", "B, c!", "c c c", "", "d"]
COLUMNS = {"a": 0, "b": 1, "c": 2}
FULL = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 3], [0, 0, 0], [0, 0, 0]])


def test_products_of_counts_by_hand():
    counts, rng = Counts(TEXTS, COLUMNS), np.random.default_rng(0)
    weights, rows = rng.standard_normal((3, 2)), rng.standard_normal((5, 2))
    np.testing.assert_allclose(counts.times(weights), FULL @ weights)
    np.testing.assert_allclose(counts.transposed_times(rows, 3), FULL.T @ rows)


def test_it_ends_where_the_gradient_is_zero():
    rng = np.random.default_rng(0)
    vocabulary = "red blue green".split()
    texts = [" ".join(rng.choice(vocabulary, 5)) for _ in range(60)]
    labels = np.array([text.count("red") > 1 for text in texts], int)
    done = []
    model = BagOfWords(texts, labels, 2, done.append)
    assert sum(done) == bag_of_words.STEPS
    columns = model._columns
    x = np.array([[text.split().count(word) for word in columns] for text in texts])
    d = (model.predict(texts) - np.eye(2)[labels]) / len(texts)
    gradient = x.T @ d + bag_of_words.PENALTY * model._weights
    assert np.abs(gradient).max() < 0.01 * np.abs(x.T @ (0.5 - np.eye(2)[labels])).max() / 60
    assert np.mean(model.predict(texts).argmax(1) == labels) > 0.95


@pytest.mark.parametrize("text", ["", "never seen"])
def test_a_text_without_a_known_word_is_judged_by_the_labels_alone(text):
    p = BagOfWords(["x", "x y", "z"], np.array([0, 0, 1]), 2).predict([text])
    assert p.shape == (1, 2) and p.sum() == pytest.approx(1)

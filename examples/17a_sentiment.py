"""Sentiment (PROOFS row 17): a GPT reads reviews without labels, then a thousand with labels; it is
tested on reviews in which no thing stands with a word that any review before said of it.

What counts is the main clause: "the plot was great although the music was dull" is good, and a bag
of words, which knows no order, falls short.
Run: python examples/17a_sentiment.py [seeds]      (half a minute a seed)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig
from tinygrad_llm.finetuning import classifier as teaching
from tinygrad_llm.finetuning import instructions
from tinygrad_llm.finetuning.bag_of_words import BagOfWords
from tinygrad_llm.models.classifier import Classifier
from tinygrad_llm.training.loop import fit
from tinygrad_llm.training.objectives import next_token

THINGS = "film story acting plot music ending script cast humour dialogue camera pace".split()
GOOD = "great wonderful superb moving brilliant charming funny clever fresh warm rich bold".split()
BAD = "dreadful boring awful dull terrible clumsy painful weak silly stale cold flat".split()
FORMS = ("S .", "S and S .", "O but S .", "although O , S .", "S although O .")  # S: as the label
WORDS = [*THINGS, *GOOD, *BAD, *"the was not and but although , .".split()]


def clause(pairs, good, rng):
    """What is said of a thing; a third is said with "not"."""
    negated = rng.random() < 1 / 3
    fitting = [pair for pair in pairs if (pair[1] in GOOD) == (good != negated)]
    thing, word = fitting[rng.integers(len(fitting))]
    return f"the {thing} was {'not ' * negated}{word}"


def reviews(pairs, size, rng):
    """Texts of (thing, word) pairs and labels, every other one good (1)."""
    texts, labels = [], np.arange(size) % 2
    for label in labels:
        meant, form = {"S": label, "O": 1 - label}, rng.choice(FORMS).split()
        texts.append(" ".join(clause(pairs, meant[w], rng) if w in meant else w for w in form))
    return texts, labels


def encode(texts):
    return [np.array([WORDS.index(word) for word in text.split()]) for text in texts]


def classifier(unlabelled, texts, labels, pretraining, steps, rng):
    model = GPT(GPTConfig(len(WORDS), 16, 2, 4, 64, initializer_range=0.05), rng=rng)
    rows = [instructions.Encoded(ids, 1) for ids in encode(unlabelled)]  # every word is predicted
    batches = instructions.epochs(rows, batch_size=64, rng=rng)
    fit(model, next_token, batches, steps=pretraining, lr=3e-3, rng=rng, progress=tqdm)
    model = Classifier(model, ("bad", "good"), rng=rng)
    batches = teaching.epochs(encode(texts), labels, batch_size=32, rng=rng)
    fit(model, teaching.label_loss(np.ones(2)), batches, steps=steps, lr=1e-3, rng=rng)
    return lambda texts: teaching.predict(model, encode(texts))


def main(seeds=(1,), pretraining=250, steps=600, plain=2000, labelled=1000, tested=1000, mark=0.95):
    good = True
    for seed in map(int, seeds):
        rng = np.random.default_rng(seed)
        pairs = rng.permutation([(thing, word) for thing in THINGS for word in GOOD + BAD]).tolist()
        apart, together = pairs[: len(pairs) // 5], pairs[len(pairs) // 5 :]
        unlabelled, _ = reviews(together, plain, rng)
        some, (texts, labels) = (
            reviews(part, size, rng) for part, size in ((together, labelled), (apart, tested))
        )
        ways = [classifier(unlabelled, *some, n, steps, rng) for n in (pretraining, 0)]
        ways.append(BagOfWords(*some, 2).predict)
        for name, way in zip(("pretrained", "without pretraining", "bag of words"), ways):
            right = np.mean(way(texts).argmax(1) == labels)
            print(f"seed {seed}, {name}: {right:.1%} of {tested} unseen reviews (mark {mark:.0%})")
            good = good and (right >= mark or name != "pretrained")
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

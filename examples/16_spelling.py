"""GPT corrects spelling (PROOFS row 16): it reads the letters of Python's manual, then learns from
pairs "speling -> spelling" to mend words with one or two edits; the loss counts the answer alone.

Unseen: no misspelling of the test was trained on, and none is itself a word of the manual. 100
words have no pair in training at all: the model has met them in the manual alone. Beside it stands
the speller that looks the nearest word up, of equally near ones the most frequent.
Run: python examples/16_spelling.py [seeds]      (minutes a seed)
"""

import re
import sys
from collections import Counter

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig
from tinygrad_llm.data.batches import Batches
from tinygrad_llm.data.sources import embedded_corpus
from tinygrad_llm.data.spelling import Speller, misspelt
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.finetuning.instructions import Special, Template, encode_example, epochs
from tinygrad_llm.recipes.answers import answer
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.training.loop import fit
from tinygrad_llm.training.objectives import next_token

TEXT = " ".join(re.findall("[a-z]+", embedded_corpus().lower()))
COUNTS = Counter(TEXT.split())  # how often the manual has each word
WORDS = {word: n for word, n in COUNTS.items() if 6 <= len(word) <= 12 and n >= 3}
TEMPLATE = Template("spelling", lambda p: [f"{p['wrong']} -> "], Special("<|endoftext|>"))
TOKENIZER, CONTEXT = CharTokenizer.train([TEXT + "->"], [TEMPLATE.end]), 48


def pairs(words, each, rng):
    """Misspellings, none twice, and their words, in random order."""
    made = {misspelt(w, rng.integers(1, 3), rng): w for w in tqdm(words * each, leave=False)}
    rows = [{"wrong": wrong, "right": w} for wrong, w in made.items() if wrong not in COUNTS]
    return rng.permutation(rows).tolist()


def taught(training, width, pretraining, steps, rng):
    """A GPT that was pretrained on the manual and fine-tuned on the pairs."""
    config = GPTConfig(TOKENIZER.vocab_size, CONTEXT, 3, 4, width, initializer_range=0.05)
    model, manual = GPT(config, rng=rng), Tokens.from_array(np.array(TOKENIZER.encode(TEXT)))
    batches = Batches(manual, batch_size=32, context=CONTEXT, rng=rng)
    fit(model, next_token, batches, steps=pretraining, lr=3e-3, rng=rng, progress=tqdm)
    rows = [encode_example(TOKENIZER, TEMPLATE, pair, "right") for pair in training]
    batches = epochs(rows, batch_size=64, rng=rng)
    fit(model, next_token, batches, steps=steps, lr=2e-3, rng=rng, progress=tqdm)
    return model


def share_mended(model, asked):
    """How often the model's best answer to a misspelling is the word."""
    found = answer(model, TOKENIZER, TEMPLATE, asked, answer_tokens=13, reporter=Reporter())
    return np.mean([text == pair["right"] for text, pair in zip(found, asked, strict=True)])


def main(seeds=(1,), pretraining=600, steps=3000, width=128, each=100, tested=1000, mark=0.85):
    good, speller = True, Speller(WORDS)
    for seed in map(int, seeds):
        rng = np.random.default_rng(seed)
        words = rng.permutation(list(WORDS)).tolist()
        asked, other = pairs(words[100:], each, rng), pairs(words[:100], 5, rng)
        model = taught(asked[tested:], width, pretraining, steps, rng)
        right, unmet = share_mended(model, asked[:tested]), share_mended(model, other)
        nearest = np.mean([speller.mend(p["wrong"]) == p["right"] for p in asked[:tested]])
        print(f"seed {seed}: {right:.1%} of {tested} unseen misspellings mended (mark {mark:.0%}),")
        print(f"  by the nearest word {nearest:.1%}; of words that had no pairs {unmet:.1%}")
        good = good and right >= mark
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

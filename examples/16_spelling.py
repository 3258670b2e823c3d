"""GPT corrects spelling (PROOFS row 16): it reads the letters of Python's manual, then learns from
pairs "speling>spelling." to mend words with one or two edits; the loss counts the answer alone.

Unseen: no misspelling of the test was trained on, and none is itself a word of the manual. A tenth
of the words has no pair in training at all: the model has met them in the manual alone.
Beside it the speller that looks the nearest word up, of equally near ones the most frequent.
Run: python examples/16_spelling.py [seeds]      (minutes a seed)
"""

import re
import sys
import time
from collections import Counter

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig
from tinygrad_llm.data.batches import Batches
from tinygrad_llm.data.sources import embedded_corpus
from tinygrad_llm.data.spelling import Speller, misspelt
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.finetuning.epochs import Epochs
from tinygrad_llm.finetuning.instructions import Encoded, pad
from tinygrad_llm.inference.generate import generate_all
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.training.loop import LoopConfig, train
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig

TEXT = " ".join(re.findall("[a-z]+", embedded_corpus().lower()))
COUNTS = Counter(TEXT.split())  # how often the manual has each word
WORDS = {word: n for word, n in COUNTS.items() if 6 <= len(word) <= 12 and n >= 3}
TOKENIZER, CONTEXT = CharTokenizer.train([TEXT + ">."]), 48


def pairs(words, each, rng):
    """(misspelling, word), in random order and no misspelling twice."""
    made = {misspelt(w, rng.integers(1, 3), rng): w for w in tqdm(words * each, leave=False)}
    return rng.permutation([pair for pair in made.items() if pair[0] not in COUNTS]).tolist()


def fit(model, batches, steps, lr, rng):
    plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=lr, min_lr=0.0)}
    stream = train(model, next_token, AdamW(model.parameters()), batches, **plan, rng=rng)
    list(tqdm(stream, total=steps, leave=False))


def taught(training, width, pretraining, steps, rng):
    """A GPT that was pretrained on the manual and fine-tuned on the pairs."""
    config = GPTConfig(TOKENIZER.vocab_size, CONTEXT, 3, 4, width, initializer_range=0.05)
    model, manual = GPT(config, rng=rng), Tokens.from_array(np.array(TOKENIZER.encode(TEXT)))
    fit(model, Batches(manual, batch_size=32, context=CONTEXT, rng=rng), pretraining, 3e-3, rng)
    ids = [np.array(TOKENIZER.encode(f"{wrong}>{word}.")) for wrong, word in training]
    rows = [Encoded(x, len(wrong) + 1) for x, (wrong, _) in zip(ids, training, strict=True)]
    stream = Epochs(
        list(map(len, ids)), lambda some: pad([rows[i] for i in some]), batch_size=64, rng=rng
    )
    fit(model, stream, steps, 2e-3, rng)
    return model.eval()


def share_mended(model, asked):
    """How often the model, greedy, gives the whole word and its end."""
    (end,) = TOKENIZER.encode(".")
    greedy = GenerationConfig(temperature=0, max_new_tokens=13, eos_token_id=end)
    answers = generate_all(model, [TOKENIZER.encode(f"{wrong}>") for wrong, _ in asked], greedy)
    return np.mean([TOKENIZER.decode(a) == f"{w}." for a, (_, w) in zip(answers, asked)])


def main(seeds=(1,), pretraining=600, steps=3000, width=128, each=100, tested=1000, mark=0.85):
    good, speller = True, Speller(WORDS)
    for seed in map(int, seeds):
        rng, start = np.random.default_rng(seed), time.perf_counter()
        words = rng.permutation(list(WORDS)).tolist()
        new, known = words[: len(words) // 10], words[len(words) // 10 :]
        asked, other = pairs(known, each, rng), pairs(new, 5, rng)
        model = taught(asked[tested:], width, pretraining, steps, rng)
        right, unmet = share_mended(model, asked[:tested]), share_mended(model, other)
        nearest = np.mean([speller.mend(wrong) == word for wrong, word in asked[:tested]])
        print(f"seed {seed}: {right:.1%} of {tested} unseen misspellings mended (mark {mark:.0%}),")
        print(f"  by the nearest word {nearest:.1%}; of words without pairs {unmet:.1%};", end=" ")
        print(f"{time.perf_counter() - start:.0f} s")
        good = good and right >= mark
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

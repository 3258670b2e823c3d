"""Attention captures long-range dependencies (PROOFS row 3): what stood more than 100 words before
is recalled; the same model that reads the last 64 words alone can only guess.

Run: python examples/10_long_range.py [seeds]      (half a minute a seed)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig, no_grad
from tinygrad_llm.training.loop import LoopConfig, train
from tinygrad_llm.training.objectives import IGNORE, next_token
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig

KEYS, FILLERS, DISTANCE, WINDOW = 16, 30, 100, 64  # a guess is right once in 16 times
SIGN, ASK = KEYS + FILLERS, KEYS + FILLERS + 1  # "the key is", "what was the key?"
LENGTH = DISTANCE + 12


def texts(size, rng):
    """Fillers with the sign and a key among the first ten, at the end the question: ids, keys."""
    ids = rng.integers(KEYS, KEYS + FILLERS, size=(size, LENGTH))
    keys, places = rng.integers(KEYS, size=size), rng.integers(LENGTH - DISTANCE - 3, size=size)
    ids[np.arange(size), places], ids[np.arange(size), places + 1] = SIGN, keys
    ids[:, -1] = ASK
    return ids, keys


def batches(window, rng):
    while True:
        ids, keys = texts(32, rng)
        targets = np.full(ids.shape, IGNORE)
        targets[:, -1] = keys
        yield ids[:, -window:], targets[:, -window:]


def recall(window, steps, seed):
    """The share of new texts after which the model answers with the key."""
    rng = np.random.default_rng(seed)
    config = GPTConfig(ASK + 1, LENGTH, n_layer=2, n_head=2, n_embd=32, initializer_range=0.1)
    model = GPT(config, rng=rng)
    plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=3e-3)}
    steps_of = train(
        model, next_token, AdamW(model.parameters()), batches(window, rng), rng=rng, **plan
    )
    for _ in tqdm(steps_of, total=steps, desc=f"last {window} words", leave=False):
        pass
    ids, keys = texts(1000, rng)
    with no_grad():
        return float((model.eval()(ids[:, -window:]).data[:, -1].argmax(-1) == keys).mean())


def main(seeds=(1,), steps=600, mark=0.95):
    good = True
    for seed in map(int, seeds):
        whole, part = (recall(window, steps, seed) for window in (LENGTH, WINDOW))
        print(f"seed {seed}: a key 100 words back is recalled in {whole:.1%} (mark {mark:.0%}),")
        print(f"  by the model that reads {WINDOW} words in {part:.1%} (chance {1 / KEYS:.1%})")
        good = good and whole >= mark and part < 2 / KEYS
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

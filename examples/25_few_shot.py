"""Few-shot learning (PROOFS row 8): a small GPT that was trained on fresh random key -> value maps
learns a map that it never saw from the examples in its context. (SmolLM2's shots: 24_labels.py.)

Run: python examples/25_few_shot.py [seeds]     (a minute a seed)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig, no_grad
from tinygrad_llm.training.loop import LoopConfig, train
from tinygrad_llm.training.objectives import IGNORE, next_token
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig

SYMBOLS, SHOTS, PAIRS = 16, 4, 12  # keys 0 to 15, values 16 to 31; 12 pairs in a training text


def texts(order, rng):
    """order (B, n), which of a fresh map's four keys comes when -> key value ... (B, 2 n).

    There are 3 * 10^9 maps, of which training sees some 10^5.
    """
    keys = rng.permuted(np.tile(np.arange(SYMBOLS), (len(order), 1)), axis=1)[:, :SHOTS]
    values = rng.integers(SYMBOLS, 2 * SYMBOLS, size=keys.shape)
    pairs = np.take_along_axis(keys, order, 1), np.take_along_axis(values, order, 1)
    return np.stack(pairs, axis=-1).reshape(len(order), -1)


def batches(rng):
    """Pairs in any order: each is an example, and where its key came before it is a question."""
    while True:
        ids = texts(rng.integers(SHOTS, size=(64, PAIRS)), rng)
        targets = ids[:, 1:].copy()
        targets[:, 1::2] = IGNORE  # which key comes next is nobody's guess
        yield ids[:, :-1], targets


def accuracy(model, shots, rng, size=1000):
    """How often the value is right that follows a key of the map after so many examples of it."""
    order = rng.permuted(np.tile(np.arange(SHOTS), (size, 1)), axis=1)[:, :shots]
    ids = texts(np.concatenate([order, rng.integers(SHOTS, size=(size, 1))], axis=1), rng)
    with no_grad():
        return float((model(ids[:, :-1]).data[:, -1].argmax(-1) == ids[:, -1]).mean())


def main(seeds=(1,), steps=2000, mark=0.95):
    good = True
    for seed in map(int, seeds):
        rng = np.random.default_rng(seed)
        config = GPTConfig(2 * SYMBOLS, 2 * PAIRS, 2, 2, 64, initializer_range=0.1)
        model = GPT(config, rng=rng)
        plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=3e-3), "rng": rng}
        stream = train(model, next_token, AdamW(model.parameters()), batches(rng), **plan)
        list(tqdm(stream, total=steps, leave=False))
        right = {shots: accuracy(model.eval(), shots, rng) for shots in range(SHOTS + 1)}
        line = ", ".join(f"{n}-shot {share:.1%}" for n, share in right.items())
        print(f"seed {seed}: unseen maps of 4 keys: {line} (chance {1 / SYMBOLS:.1%})")
        good = good and right[SHOTS] >= mark and right[0] < 2 / SYMBOLS
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

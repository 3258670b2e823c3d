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

SYMBOLS, SHOTS = 16, 4  # keys 0 to 15, values 16 to 31; a guess is right once in 16 times


def texts(size, shots, rng):
    """key value, `shots` times, then as many questions as there are keys: each key, its value."""
    keys = rng.permuted(np.tile(np.arange(SYMBOLS), (size, 1)), axis=1)[:, :SHOTS]
    values = rng.integers(SYMBOLS, 2 * SYMBOLS, size=keys.shape)  # one of 3 * 10^9 maps
    again = rng.permuted(np.tile(np.arange(SHOTS), (size, 1)), axis=1)
    order = np.concatenate([np.tile(np.arange(shots), (size, 1)), again], axis=1)
    pairs = np.take_along_axis(keys, order, 1), np.take_along_axis(values, order, 1)
    return np.stack(pairs, axis=-1).reshape(size, -1)


def batches(rng):
    while True:
        ids = texts(64, SHOTS, rng)
        targets = ids[:, 1:].copy()
        targets[:, 1::2] = IGNORE  # which key comes next is nobody's guess
        yield ids[:, :-1], targets


def main(seeds=(1,), steps=2000, mark=0.95):
    good = True
    for seed in map(int, seeds):
        rng = np.random.default_rng(seed)
        config = GPTConfig(2 * SYMBOLS, 4 * SHOTS, 2, 2, 64, initializer_range=0.05)
        model = GPT(config, rng=rng)
        plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=2e-3), "rng": rng}
        stream = train(model, next_token, AdamW(model.parameters()), batches(rng), **plan)
        list(tqdm(stream, total=steps, leave=False))
        right = {}
        for shots in range(SHOTS + 1):  # the first question after so many examples
            ids = texts(1000, shots, rng)[:, : 2 * shots + 2]
            with no_grad():
                best = model.eval()(ids[:, :-1]).data[:, -1].argmax(-1)
            right[shots] = float((best == ids[:, -1]).mean())
        line = ", ".join(f"{n}-shot {share:.1%}" for n, share in right.items())
        print(f"seed {seed}: unseen maps of 4 keys: {line} (chance {1 / SYMBOLS:.1%})")
        good = good and right[SHOTS] >= mark and right[0] < 2 / SYMBOLS
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

"""The transformer of 2017 learns to write a text backwards: attention finds each place's partner.

Run: python examples/11a_reverse.py [seeds]    (all of 1,000 unseen texts in two minutes a seed)
"""

import sys
import time

import numpy as np
from tqdm import tqdm

from tinygrad_llm import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.inference.translate import GREEDY, translate
from tinygrad_llm.training.loop import StepsConfig, train
from tinygrad_llm.training.objectives import next_target_token
from tinygrad_llm.training.optimizer import AdamW, AdamWConfig
from tinygrad_llm.training.schedules import ScheduleConfig

PAD, END, START, FIRST, SIZE = 0, 1, 2, 3, 29  # 26 letters
LONGEST, LIMIT = 12, 120  # letters; seconds


def batches(held_out, rng, rows=128):
    """Texts of one length at a time, none of them held out, and each read backwards."""
    while True:
        texts = rng.integers(FIRST, SIZE, size=(rows, rng.integers(1, LONGEST + 1)))
        texts = np.array([t for t in texts if tuple(t) not in held_out], int).reshape(
            -1, texts.shape[1]
        )
        edge = np.ones((len(texts), 1), int)
        turned = texts[:, ::-1]
        yield (
            np.hstack([texts, END * edge]),
            np.hstack([START * edge, turned]),
            np.hstack([turned, END * edge]),
        )


def share_right(seed, steps, width):
    """How many of 1,000 held-out texts the model writes backwards without a fault."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, LONGEST + 1, size=1000)
    held_out = {tuple(rng.integers(FIRST, SIZE, size=n).tolist()) for n in lengths}
    sizes = {
        f"{side}_{name}": n
        for side in ("encoder", "decoder")
        for name, n in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 2 * width))
    }
    config = EncoderDecoderConfig(vocab_size=SIZE, d_model=width, dropout=0.0, **sizes)
    model = EncoderDecoder(config, rng=rng)
    optimizer = AdamW(model.parameters(), AdamWConfig(weight_decay=0.0, beta2=0.98))
    schedule = ScheduleConfig(lr=2e-3, min_lr=0.0, warmup=steps // 10)
    stream, plan = batches(held_out, rng), {"loop": StepsConfig(steps), "schedule": schedule}
    reports = train(model, next_target_token, optimizer, stream, rng=rng, **plan)
    list(tqdm(reports, total=steps, leave=False))
    texts = sorted(held_out)
    found = translate(model, [[*text, END] for text in texts], GREEDY)
    return sum(f.ids == [*text[::-1], END] for f, text in zip(found, texts)) / len(texts)


def main(seeds=(1,), steps=2500, width=64, mark=1.0):
    good = True
    for seed in map(int, seeds):
        start = time.perf_counter()
        right = share_right(seed, steps, width)
        seconds = time.perf_counter() - start
        print(f"seed {seed}: {right:.1%} of 1,000 held-out texts (mark {mark:.0%})", end="")
        print(f" in {seconds:.0f} s (at most {LIMIT})")
        good = good and right >= mark and seconds <= LIMIT
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

"""BERT predicts masked words (PROOFS row 12) from both sides: in a grammar whose blank is
decided only by words to its right, beside the same net that sees the left alone; then in real text.

Run: python examples/12_masked_words.py [seeds]      (minutes a seed, most for Python's own manual)
"""

import sys
import tempfile

import numpy as np
from tqdm import tqdm

from tinygrad_llm.cli.terminal import TerminalReporter
from tinygrad_llm.inference.decoder import evaluating
from tinygrad_llm.models.bert import BertConfig, BertForMaskedLM
from tinygrad_llm.recipes.comparison import fillers
from tinygrad_llm.recipes.pretrain import pretrain
from tinygrad_llm.recipes.settings import preset
from tinygrad_llm.training.loop import LoopConfig, train
from tinygrad_llm.training.masking import IGNORE, masked_token
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig

KINDS, NOUNS, OTHERS, LENGTH, MASK = 8, 64, 30, 12, 102  # ids: articles, nouns, others, [MASK]
CONFIG = BertConfig(103, 32, 2, 2, 64, LENGTH, initializer_range=0.1)


class LeftToRight(BertForMaskedLM):
    """The same net under a causal mask."""

    def hidden(self, ids, **unused):
        x = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x, np.tri(ids.shape[1], dtype=bool)[None, None])
        return x


def batches(rng, size=64):
    """Others, [MASK], others, a noun, others; the article at [MASK] is that of the noun's kind."""
    while True:
        ids = rng.integers(KINDS + NOUNS, MASK, size=(size, LENGTH))
        nouns, rows = rng.integers(NOUNS, size=size), np.arange(size)
        blank = rng.integers(1, LENGTH // 2, size=size)
        ids[rows, blank], ids[rows, rng.integers(blank + 1, LENGTH)] = MASK, KINDS + nouns
        yield ids, np.where(ids == MASK, (nouns % KINDS)[:, None], IGNORE)


def accuracy(build, steps, seed):
    rng = np.random.default_rng(seed)
    model = build(CONFIG, rng=rng)
    plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=3e-3), "rng": rng}
    stream = train(model, masked_token, AdamW(model.parameters()), batches(rng), **plan)
    list(tqdm(stream, total=steps, desc=build.__name__, leave=False))
    ids, targets = next(batches(rng, 2000))
    with evaluating(model):
        best = model(ids).data.argmax(-1)
    return float((best == targets)[ids == MASK].mean())


def main(seeds=(1,), steps=600, mark=0.95, reporter=None, **overrides):
    good = True
    for seed in map(int, seeds):
        both, left = (accuracy(build, steps, seed) for build in (BertForMaskedLM, LeftToRight))
        print(f"seed {seed}: article found from both sides {both:.1%} (mark {mark:.0%}), from the")
        print(f"  left alone {left:.1%} (chance {1 / KINDS:.1%})")
        settings = preset("bert").updated({"seed": seed, "sample_every": 0, **overrides})
        with tempfile.TemporaryDirectory() as folder:
            rows = fillers(pretrain(settings, f"{folder}/run", reporter=reporter).run)
        for name, (right, nats) in rows.items():
            print(f"  hidden words of Python's manual: {name:<21} {right:.1%}, {nats:.3f} nats")
        best = max(rows.values()) == rows["this BERT"]
        good = good and both >= mark and left < 2 / KINDS and best
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3), reporter=TerminalReporter()))

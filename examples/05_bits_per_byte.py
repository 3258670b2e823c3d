"""Pretraining on unlabelled text (PROOFS row 4): bits per byte on held-out text, beside gzip,
bigram and trigram.

Run: python examples/05_bits_per_byte.py [seeds]      (Python's own manual, a few minutes a seed)
"""

import sys
import tempfile
from pathlib import Path

from tinygrad_llm.cli.terminal import TerminalReporter
from tinygrad_llm.recipes.comparison import baselines
from tinygrad_llm.recipes.pretrain import pretrain
from tinygrad_llm.recipes.settings import preset


def main(seeds=(1,), reporter=None, **overrides):
    good = True
    for seed in map(int, seeds):
        settings = preset("default").updated({"seed": seed, "sample_every": 0, **overrides})
        with tempfile.TemporaryDirectory() as folder:
            outcome = pretrain(settings, Path(folder) / "run", reporter=reporter)
            rows = {"this GPT": outcome.score.bits_per_byte, **baselines(outcome.run)}
        print(
            f"seed {seed}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in rows.items())
            + " bits per byte"
        )
        good = good and rows["this GPT"] == min(rows.values())
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3), reporter=TerminalReporter()))

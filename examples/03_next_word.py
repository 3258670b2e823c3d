"""An LLM learns to predict the next token, labels made on the fly (PROOFS row 1): nanoGPT's CPU
recipe, beside PyTorch.

Run: python examples/03_next_word.py tinyshakespeare.txt [seeds, such as 1 2 3]     (PyTorch's row
needs torch)
"""

import sys
import tempfile
from pathlib import Path

from tinygrad_llm.cli.terminal import TerminalReporter
from tinygrad_llm.recipes.pretrain import pretrain
from tinygrad_llm.recipes.settings import preset

MARK = 1.90  # nats per character on the whole validation split; nanoGPT samples: 1.88


def ours(settings, folder, reporter):
    """(validation loss, seconds of training) of one run; the time is that of the steps alone."""
    outcome = pretrain(settings, folder, reporter=reporter)
    return outcome.score.loss, outcome.train_seconds


def theirs(settings, folder):
    """The same recipe in PyTorch: equal architecture, tokens, optimizer and schedule."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.torch_recipe import train_like_ours

    return train_like_ours(settings, folder)


def main(data, seeds=(1,), steps=2000, mark=MARK, reporter=None, with_torch=True):
    good = True
    for seed in map(int, seeds):
        settings = preset("char-cpu").updated(
            {"data": [str(data)], "seed": seed, "steps": steps, "sample_every": 0}
        )
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            loss, seconds = ours(settings, run, reporter)
            print(f"seed {seed}: validation loss {loss:.4f} in {seconds:.0f} s (mark {mark})")
            if with_torch:
                peer, peer_seconds = theirs(settings, run)
                print(
                    f"  PyTorch: {peer:.4f} in {peer_seconds:.0f} s; "
                    f"ours takes {seconds / peer_seconds:.2f} of it"
                )
        good = good and loss <= mark
    return good


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    raise SystemExit(not main(sys.argv[1], sys.argv[2:] or (1, 2, 3), reporter=TerminalReporter()))

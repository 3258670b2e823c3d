"""Not all transformers are language models (PROOFS row 21): a small vision transformer reads
scikit-learn's handwritten digits, 8 by 8 pixels each; the nearest neighbour stands beside it.

Run: python examples/21_digits.py [seeds]      (a minute a seed; needs scikit-learn)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import functional as F
from tinygrad_llm import no_grad
from tinygrad_llm.models.vit import ViT, ViTConfig
from tinygrad_llm.training.loop import LoopConfig, train
from tinygrad_llm.training.objectives import Loss
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig


def digits():
    """1,797 images (N, 1, 8, 8) of numbers about 0, and their labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("the digits come with scikit-learn: pip install scikit-learn") from None
    found = load_digits()
    return (found.images[:, None] / 8 - 1).astype(np.float32), found.target


def batches(images, labels, rng, size=64):
    """Each image is moved by up to a pixel, so that no place alone decides."""
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    rows, columns = np.ogrid[:8, :8]
    while True:
        some = rng.integers(len(images), size=size)
        down, right = rng.integers(3, size=(2, size, 1, 1))
        moved = padded[some[:, None, None], down + rows, right + columns]
        yield moved[:, None], labels[some]


def objective(model, images, labels):
    return Loss(F.cross_entropy(model(images), labels, reduction="sum"), len(labels))


def nearest(images, labels, asked):
    """The label of the training image at the least distance."""
    a, b = images.reshape(len(images), -1), asked.reshape(len(asked), -1)
    return labels[((b**2).sum(1)[:, None] - 2 * b @ a.T + (a**2).sum(1)).argmin(1)]


def main(seeds=(1,), steps=2500, mark=0.95, load=digits):
    good, (images, labels) = True, load()
    for seed in map(int, seeds):
        rng, seconds = np.random.default_rng(seed), 0.0
        order = rng.permutation(len(images))
        test, rest = order[: len(order) // 5], order[len(order) // 5 :]
        model = ViT(ViTConfig(), rng=rng)
        plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=2e-3), "rng": rng}
        stream = batches(images[rest], labels[rest], rng)
        reports = train(model, objective, AdamW(model.parameters()), stream, **plan)
        for report in tqdm(reports, total=steps, leave=False):
            seconds += report.seconds
        with no_grad():
            right = (model.eval()(images[test]).data.argmax(-1) == labels[test]).mean()
        plain = (nearest(images[rest], labels[rest], images[test]) == labels[test]).mean()
        print(f"seed {seed}: {right:.1%} of {len(test)} unseen digits in {seconds:.0f} s", end="")
        print(f" (mark {mark:.0%}); nearest neighbour {plain:.1%}")
        good = good and right >= mark
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

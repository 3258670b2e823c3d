"""GPT translates though not built for it (PROOFS row 15): English and German number words, each
alone, and pairs of some numbers, as one text; then numbers that it never saw paired.

Run: python examples/15_translation_emerges.py [seeds]      (about two minutes a seed)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig
from tinygrad_llm.inference.generate import generate_all
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.training.loop import LoopConfig, train
from tinygrad_llm.training.objectives import IGNORE, next_token
from tinygrad_llm.training.optimizer import AdamW
from tinygrad_llm.training.schedules import ScheduleConfig

ENGLISH = "zero one two three four five six seven eight nine".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN = "null ein zwei drei vier fünf sechs sieben acht neun".split()
ZEHNER = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
NUMBERS = [n for n in range(100, 1000) if n % 100 > 20 and n % 10]  # three digits, none 0: 648
WORDS = ["EN", "DE", ".", "hundred", "and", "hundert", "und", *ENGLISH, *TENS, *GERMAN, *ZEHNER]
END, LENGTH = WORDS.index("."), 14


def english(n):
    return f"EN {ENGLISH[n // 100]} hundred and {TENS[n // 10 % 10 - 2]} {ENGLISH[n % 10]}"


def german(n):
    return f"DE {GERMAN[n // 100]} hundert {GERMAN[n % 10]} und {ZEHNER[n // 10 % 10 - 2]}"


def encode(text):
    return [WORDS.index(word) for word in text.split()]


def batches(lines, rng):
    """One line a row; what stands behind its end does not count."""
    rows = np.full((len(lines), LENGTH), IGNORE)
    for row, line in zip(rows, lines, strict=True):
        row[: len(line)] = line
    while True:
        some = rows[rng.integers(len(rows), size=64)]
        yield np.where(some == IGNORE, END, some)[:, :-1], some[:, 1:]


def translated(pairs, steps, seed, tested):
    """The share of `tested` numbers without a pair that come out right in German."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(NUMBERS)
    paired, unseen = order[:pairs], order[-tested:]
    lines = [f"{text(n)} ." for n in NUMBERS for text in (english, german)]
    lines += [f"{english(n)} {german(n)} ." for n in paired] * (len(lines) // max(1, pairs) // 2)
    config = GPTConfig(len(WORDS), LENGTH, 2, 4, 64, dropout=0.1, initializer_range=0.05)
    model = GPT(config, rng=rng)
    plan = {"loop": LoopConfig(steps=steps), "schedule": ScheduleConfig(lr=3e-3), "rng": rng}
    stream = batches(list(map(encode, lines)), rng)
    steps_of = train(model, next_token, AdamW(model.parameters()), stream, **plan)
    list(tqdm(steps_of, total=steps, desc=f"{pairs} pairs", leave=False))
    greedy = GenerationConfig(temperature=0, max_new_tokens=6, eos_token_id=END)
    prompts = [encode(f"{english(n)} DE") for n in unseen]
    wanted = [encode(f"{german(n)} .")[1:] for n in unseen]
    return np.mean([a == b for a, b in zip(generate_all(model.eval(), prompts, greedy), wanted)])


def main(seeds=(1,), steps=1500, mark=0.8, pairs=200, tested=300):
    good = True
    for seed in map(int, seeds):
        some, none = (translated(n, steps, seed, tested) for n in (pairs, 0))
        print(f"seed {seed}: {some:.1%} of {tested} numbers never seen paired (mark {mark:.0%});")
        print(f"  without paired lines {none:.1%}")
        good = good and some >= mark and none <= 0.05
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))

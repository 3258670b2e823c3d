"""A language pair that nobody needs to download: English number words to German ones, the units
before the tens, on numbers that training never saw.

Run: python examples/11b_number_words.py [seeds]      (at least 99%, a few minutes a seed)
"""

import random
import sys
import tempfile
from pathlib import Path

from tinygrad_llm.cli.terminal import TerminalReporter
from tinygrad_llm.recipes.train_translation import train_translation
from tinygrad_llm.recipes.translate import translate_lines
from tinygrad_llm.recipes.translation_settings import TranslationSettings

MARK = 0.99
ONES = ["", *"one two three four five six seven eight nine ten eleven twelve".split()]
ONES += [part + "teen" for part in "thir four fif six seven eigh nine".split()]
TENS = ["", "", *"twenty thirty forty fifty sixty seventy eighty ninety".split()]
EINER = ["", *"ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split()]
EINER += [part + "zehn" for part in "drei vier fünf sech sieb acht neun".split()]
ZEHNER = ["", "", *"zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()]
SMALL = """d_model=64 encoder_layers=2 decoder_layers=2 encoder_ffn_dim=128 decoder_ffn_dim=128
 vocab_size=340 dropout=0 label_smoothing=0 batch_tokens=2048 steps=3000 lr=3e-3 warmup=300
 decay=cosine min_lr=0 eval_every=500 sample_every=0 average=1""".split()


def english(n):
    """0 <= n < 1,000,000 in words; 0 is silent."""
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if n >= size:
            return f"{english(n // size)} {name} {english(n % size)}".strip()
    return ONES[n] if n < 20 else f"{TENS[n // 10]}-{ONES[n % 10]}".strip("-")


def german(n, last=True):
    """The same; one is "eins" at the end of the word, "ein" before anything else."""
    for size, name in ((1000, "tausend"), (100, "hundert")):
        if n >= size:
            return german(n // size, False) + name + german(n % size, last)
    if n >= 20:
        return (EINER[n % 10] + "und" if n % 10 else "") + ZEHNER[n // 10]
    return EINER[n] + ("s" if n == 1 and last else "")


def main(seeds=(1,), count=20_000, held_out=500, mark=MARK, reporter=None, **changes):
    good = True
    for seed in map(int, seeds):
        numbers = random.Random(seed).sample(range(1, 1_000_000), count + held_out)
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "pairs.tsv"
            lines = (f"{english(n)}\t{german(n)}\n" for n in numbers[held_out:])
            table.write_text("".join(lines), encoding="utf-8")
            given = {"source": str(table), "seed": seed, **changes}
            settings = TranslationSettings().assigned(SMALL).updated(given)
            train_translation(settings, Path(folder) / "run", reporter=reporter)
            texts = [english(n) for n in numbers[:held_out]]
            found = translate_lines(Path(folder) / "run", texts, num_beams=1)
        right = sum(a == german(n) for a, n in zip(found, numbers)) / held_out
        print(
            f"seed {seed}: {right:.1%} of {held_out} held-out numbers (mark {mark:.0%}), such as "
            f"{texts[0]!r}: {found[0]!r}"
        )
        good = good and right >= mark
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3), reporter=TerminalReporter()))

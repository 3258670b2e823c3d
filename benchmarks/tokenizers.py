"""Byte-pair encoding and its training beside tiktoken and Hugging Face's tokenizers, in turns.

Run: python -m benchmarks.tokenizers [--json] [--text FILE] [--gpt2 FOLDER] [--quick]

Without --gpt2, a folder with GPT-2's encoder.json and vocab.bpe, the vocabulary is one of 4,096
tokens trained on the text; without --text, that is the manual which every Python carries.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.turns import compare, phase, take_turns
from tinygrad_llm.data.sources import embedded_corpus
from tinygrad_llm.kernels.threads import get_num_threads, set_num_threads
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.patterns import PATTERNS

OURS, TIKTOKEN, HUGGING_FACE = "tinygrad_llm", "tiktoken", "tokenizers"
BATCH = 1000  # characters of each text of a batch


def measure(text: str, tokenizer: BPETokenizer, turns: int, seconds: float) -> Iterator[dict]:
    """The rows of encoding one text, of encoding a batch, and of training on the text."""
    yield from contest("encode", text, encoders(tokenizer, text), turns, seconds)
    texts = [text[i : i + BATCH] for i in range(0, len(text), BATCH)]
    yield from contest("encode_batch", text, batch_encoders(tokenizer, texts), turns, seconds)


def measure_training(text: str, size: int, turns: int) -> Iterator[dict]:
    """The rows of learning a vocabulary of that size."""
    yield from contest(f"train {size:,}", text, trainers(text, size), turns, None)


def contest(
    work: str, text: str, contenders: dict[str, Callable], turns: int, seconds: float | None
) -> Iterator[dict]:
    """Check that all give the same, then time them in turns: a row for each, ours first.

    seconds: of a phase; None for a phase of one call.
    """
    expected = contenders[OURS]()
    for name, run in contenders.items():
        if run() != expected:
            raise ArithmeticError(f"{work}: {name} gives something else than {OURS}")
    timed = once if seconds is None else lambda run: phase(run, seconds)
    times = take_turns(
        {name: lambda run=run: timed(run) for name, run in contenders.items()}, turns
    )
    megabytes = len(text.encode()) / 1e6
    for name, seconds_taken in times.items():
        ratio = compare(seconds_taken, times[OURS])
        yield {
            "work": work,
            "peer": name,
            "mb": megabytes,
            "seconds": statistics.median(seconds_taken),
            "mb_per_s": megabytes / statistics.median(seconds_taken),
            "ratio": ratio.median,
            "spread": [ratio.low, ratio.high],
        }


def once(run: Callable) -> float:
    """The seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def encoders(tokenizer: BPETokenizer, text: str) -> dict[str, Callable[[], list[int]]]:
    """Text to a list of ids, on one thread."""
    found = {OURS: lambda: tokenizer.encode(text)}
    if there(TIKTOKEN):
        theirs = as_tiktoken(tokenizer)
        found[TIKTOKEN] = lambda: theirs.encode_ordinary(text)
    if there(HUGGING_FACE):
        hugging_face = as_tokenizers(tokenizer)
        found[HUGGING_FACE] = lambda: hugging_face.encode(text, add_special_tokens=False).ids
    return found


def batch_encoders(tokenizer: BPETokenizer, texts: list[str]) -> dict[str, Callable]:
    """Texts to lists of ids on all cores; and ours one text after another, on one."""
    found = {
        OURS: lambda: tokenizer.encode_batch(texts),
        f"{OURS}, one thread": lambda: on_one_thread(lambda: tokenizer.encode_batch(texts)),
    }
    if there(TIKTOKEN):
        theirs = as_tiktoken(tokenizer)
        found[TIKTOKEN] = lambda: theirs.encode_ordinary_batch(texts)
    if there(HUGGING_FACE):
        hugging_face = as_tokenizers(tokenizer)
        found[HUGGING_FACE] = lambda: [
            part.ids for part in hugging_face.encode_batch(texts, add_special_tokens=False)
        ]
    return found


def on_one_thread(run: Callable) -> object:
    before = get_num_threads()
    set_num_threads(1)
    try:
        return run()
    finally:
        set_num_threads(before)


def trainers(text: str, size: int) -> dict[str, Callable[[], dict[str, int]]]:
    """A text to a vocabulary: the ids of its tokens."""

    def ours() -> dict[str, int]:
        contents = BPETokenizer.train([text], size).contents
        return {contents.spell(token): index for token, index in contents.vocabulary.items()}

    found = {OURS: ours}
    if there(HUGGING_FACE):
        import tokenizers as hf

        def train() -> dict[str, int]:
            tokenizer = hf.Tokenizer(hf.models.BPE())
            byte_level = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.pre_tokenizer = byte_level
            trainer = hf.trainers.BpeTrainer(
                vocab_size=size, initial_alphabet=byte_level.alphabet(), show_progress=False
            )
            tokenizer.train_from_iterator([text], trainer)
            return tokenizer.get_vocab()

        found[HUGGING_FACE] = train
    return found


def there(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None


def as_tiktoken(tokenizer: BPETokenizer):
    """The same tokenizer in tiktoken, which takes the ids for the order of the merges."""
    import tiktoken

    return tiktoken.Encoding(
        "ours",
        pat_str=PATTERNS[tokenizer.pattern],
        mergeable_ranks=dict(tokenizer.contents.vocabulary),
        special_tokens=tokenizer.special_tokens,
    )


def as_tokenizers(tokenizer: BPETokenizer):
    """The same tokenizer in Hugging Face's tokenizers, through tokenizer.json."""
    import tokenizers as hf

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        return hf.Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def line(row: dict) -> str:
    """A row for people."""
    low, high = row["spread"]
    return (
        f"{row['work']:<14} {row['mb']:5.1f} MB  {row['peer']:<26} {row['seconds']:8.3f} s "
        f"{row['mb_per_s']:8.1f} MB/s  ours is {row['ratio']:5.2f} times as fast "
        f"({low:.2f}-{high:.2f})"
    )


def measure_all(
    text_file: Path | None = None, gpt2: Path | None = None, turns: int = 5, quick: bool = False
) -> Iterator[dict]:
    """All rows. text_file: UTF-8; gpt2: a folder with encoder.json and vocab.bpe."""
    text = text_file.read_text(encoding="utf-8") if text_file else embedded_corpus()
    text = text[:20_000] if quick else text
    turns, seconds = (1, 0.01) if quick else (turns, 0.5)
    if gpt2:
        tokenizer = BPETokenizer.from_gpt2(gpt2 / "encoder.json", gpt2 / "vocab.bpe")
    else:
        tokenizer = BPETokenizer.train([text], 512 if quick else 4096)
    yield from measure(text, tokenizer, turns, seconds)
    yield from measure_training(text, 512 if quick else 4096, turns)
    if not quick:
        yield from measure_training((text + embedded_corpus()) * 10, 8192, turns)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokenizers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--text", type=Path, metavar="FILE", help="UTF-8 text")
    parser.add_argument("--gpt2", type=Path, metavar="FOLDER", help="encoder.json and vocab.bpe")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--quick", action="store_true", help="a small text, to see it work")
    args = parser.parse_args(argv)
    for row in measure_all(args.text, args.gpt2, args.turns, args.quick):
        print(json.dumps(row) if args.json else line(row), flush=True)


if __name__ == "__main__":
    main()

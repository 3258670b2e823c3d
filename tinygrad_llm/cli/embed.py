"""tinygrad-llm embed: texts as vectors, near each other where the texts mean the same."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads, text_or_stdin
from tinygrad_llm.errors import InputError


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "embed",
        "Texts as vectors of length 1, a line of JSON each.",
        "tinygrad-llm embed minilm --similar 'A man is eating.' 'Someone has a meal.'",
    )
    parser.add_argument(
        "model",
        metavar="DIR|NAME",
        help="the folder of a BERT, or minilm, which comes in a package of PyPI",
    )
    parser.add_argument(
        "texts", nargs="+", metavar="TEXT", help="texts; - reads one a line from standard input"
    )
    parser.add_argument("--out", metavar="FILE.npy", help="write the vectors as an array (N, D)")
    parser.add_argument(
        "--similar", action="store_true", help="print the cosine of each text with each instead"
    )
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from tinygrad_llm.files import write_atomic
    from tinygrad_llm.inference.encode import longest_text, text_vectors
    from tinygrad_llm.inference.sentence_config import load_sentence_config
    from tinygrad_llm.recipes.import_ import find_weights
    from tinygrad_llm.recipes.models import open_encoder

    apply_threads(args)
    texts = _texts(args.texts)
    if args.out and Path(args.out).suffix != ".npy":
        raise InputError(f"--out {args.out}: vectors are written as NumPy's .npy; name such a file")
    model, tokenizer = open_encoder(args.model)
    config = load_sentence_config(find_weights(args.model))
    with tqdm(total=len(texts), desc="embedding", unit="text", delay=1, leave=False) as bar:
        vectors, cut = text_vectors(model, tokenizer, texts, config, progress=bar.update)
    for i in cut:
        print(
            f"tinygrad-llm: text {i + 1} is longer than the {longest_text(model, config)} tokens "
            "that the model reads; only its beginning counts",
            file=sys.stderr,
        )
    if args.out:
        write_atomic(Path(args.out), lambda path: _save(path, vectors))
    if args.similar:
        _print_cosines(vectors @ vectors.T, texts)
    elif not args.out:
        for text, vector in zip(texts, vectors.tolist(), strict=True):
            print(json.dumps({"text": text, "vector": vector}, ensure_ascii=False))


def _texts(given: list[str]) -> list[str]:
    """The texts as they are; for -, the lines of standard input that hold anything."""
    texts: list[str] = []
    for text in given:
        lines = text_or_stdin(text).rstrip("\r\n").splitlines() if text == "-" else [text]
        kept = [line for line in lines if line.strip() or text != "-"]
        if left_out := len(lines) - len(kept):
            print(f"tinygrad-llm: {left_out} empty lines have no vector", file=sys.stderr)
        texts += kept
    if not texts:
        raise InputError("standard input holds no text; give one a line")
    return texts


def _save(path: Path, vectors) -> None:
    import numpy as np

    with open(path, "wb") as file:
        np.save(file, vectors)


def _print_cosines(cosines, texts: list[str]) -> None:
    print("     " + "".join(f"{i:>6}" for i in range(1, len(texts) + 1)))
    for i, (row, text) in enumerate(zip(cosines, texts, strict=True), 1):
        print(f"{i:>5}" + "".join(f"{value:6.2f}" for value in row) + f"  {text}")

"""Tokens that a model writes or reads in a second: ours, llama.cpp, transformers, in turns.

Run: python -m benchmarks.inference [--json] [--turns 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.peer import Peer
from benchmarks.turns import compare, take_turns
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.models.gpt import GPT, PRESETS
from tinygrad_llm.recipes.import_ import find_weights

OURS, EIGHT_BIT, LLAMA_CPP, TRANSFORMERS = "tinygrad_llm", "ours 8-bit", "llama.cpp", "transformers"
ROOM = "benchmarks.peers.inference"
QUICK = {"vocab_size": 65, "n_layer": 2, "n_head": 2, "n_embd": 64}
CHECKED = 40  # tokens behind which the logits are compared


class Contender(NamedTuple):
    """A class of benchmarks/peers/inference.py, its settings, and how far its logits may be from
    ours, as a part of their spread: llama.cpp rounds what enters a product to 8 bits.
    """

    cls: str
    package: str
    tolerance: float
    settings: dict


def contenders(folder: str) -> dict[str, dict[str, Contender]]:
    """Workload -> name -> contender; GPT-2's random weights lie in the folder."""
    gpt2 = {
        OURS: Contender("Ours", "numba", 0, {"path": folder}),
        EIGHT_BIT: Contender("Ours", "numba", 0.05, {"path": folder, "bits": 8}),
        TRANSFORMERS: Contender("Transformers", "transformers", 1e-3, {"path": folder}),
    }
    try:
        path = {"path": str(find_weights("smollm2"))}
    except InputError as error:
        print(f"smollm2 is left out: {error}", file=sys.stderr)
        return {"gpt2-124M": gpt2}
    smollm2 = {
        OURS: Contender("Ours", "numba", 0, path),
        LLAMA_CPP: Contender("LlamaCpp", "llama-cpp-python", 0.15, path),
    }
    return {"smollm2-Q4_1": smollm2, "gpt2-124M": gpt2}


def measure(
    name: str, some: dict[str, Contender], *, turns=5, sizes=(128, 512), threads=None
) -> Iterator[dict]:
    """Rows of decoding and of prefill for every contender, after its logits were found close to
    ours; and one of the cache. sizes: tokens decoded, tokens of a prefill.
    """
    with contextlib.ExitStack() as stack:
        running, logits = {}, {}
        for peer, contender in some.items():
            if machine.version(contender.package) == "not installed":
                print(f"{name}: {peer} is left out, it is not installed", file=sys.stderr)
                continue
            process = Peer(f"{ROOM}:{contender.cls}", threads=threads, **contender.settings)
            running[peer] = stack.enter_context(process)
            logits[peer] = np.array(process.call("logits", count=CHECKED))
            check(logits[peer], logits[OURS], contender.tolerance, f"{peer} on {name}")
        for method, count in zip(("decode", "prefill"), sizes):
            calls = {p: lambda p=p: running[p].call(method, count=count) for p in running}
            for call in calls.values():
                call()
            times = take_turns(calls, turns)
            for peer, process in running.items():
                memory = process.call("memory")
                yield row(f"{name} {method} {count}", peer, count, times[peer], times[OURS], memory)
        computed, measured = running[OURS].call("cache", count=sizes[1])
        yield {
            "workload": f"{name} cache of {sizes[1]} tokens",
            "peer": OURS,
            "computed_mb": computed / 1e6,
            "measured_mb": measured / 1e6,
        }


def check(logits: np.ndarray, ours: np.ndarray, tolerance: float, what: str) -> None:
    """Raise unless the logits differ by little: root mean squares, both around their means."""
    difference = np.std(logits - ours) / np.std(ours)
    if not difference <= tolerance:
        raise ArithmeticError(
            f"{what}: logits differ from ours by {difference:.2g} of their spread; nothing is timed"
        )


def row(workload: str, peer: str, count: int, times, ours, memory: float) -> dict:
    """ratio: tokens/s of ours over its."""
    ratio = compare(times, ours)
    return {
        "workload": workload,
        "peer": peer,
        "tokens_per_s": count / statistics.median(times),
        "ratio": ratio.median,
        "spread": [ratio.low, ratio.high],
        "peak_rss_mb": memory,
    }


def line(row: dict) -> str:
    """A row for people."""
    if "computed_mb" in row:
        return f"{row['workload']:<34} computed {row['computed_mb']:.2f} MB, measured " + (
            f"{row['measured_mb']:.2f} MB"
        )
    low, high = row["spread"]
    return (
        f"{row['workload']:<26} {row['peer']:<13} {row['tokens_per_s']:8,.1f} tokens/s "
        f"{row['peak_rss_mb']:7,.0f} MB  ours/its speed {row['ratio']:5.2f} ({low:.2f}-{high:.2f})"
    )


def measure_all(
    *, turns: int = 5, quick: bool = False, threads: int | None = None
) -> Iterator[dict]:
    """All workloads; quick: a tiny GPT alone, to see it work."""
    with tempfile.TemporaryDirectory() as folder:
        preset = dataclasses.replace(PRESETS["gpt2"], **QUICK if quick else {})
        save_model(folder, GPT(preset, rng=np.random.default_rng(1)))
        every = contenders(folder)
        if quick:
            every = {"tiny": every["gpt2-124M"]}
        for name, some in every.items():
            sizes = (8, 70) if quick else (128, 512)
            yield from measure(name, some, turns=turns, sizes=sizes, threads=threads)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see it work")
    parser.add_argument(
        "--threads",
        type=int,
        choices=range(1, machine.cores() + 1),
        metavar="N",
        help="cores that each contender may use (default: all)",
    )
    args = parser.parse_args(argv)
    for each in measure_all(turns=args.turns, quick=args.quick, threads=args.threads):
        print(json.dumps(each) if args.json else line(each), flush=True)


if __name__ == "__main__":
    main()

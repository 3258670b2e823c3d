"""Causal attention alone, forward and backward, ours beside PyTorch's; and how its memory grows.

Run: python -m benchmarks.attention [--json] [--shape 4 6 1024 64] [--lengths 512 1024 2048 4096]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
from collections.abc import Iterator

import numpy as np

from benchmarks import machine
from benchmarks.peer import Peer
from benchmarks.turns import compare, take_turns

CONTENDERS = {
    "tinygrad_llm": "benchmarks.peers.attention:Ours",
    "pytorch": "benchmarks.peers.attention:PyTorch",
}
SHAPE, LENGTHS = (4, 6, 1024, 64), (512, 1024, 2048, 4096)
TOLERANCE = 1e-4  # of the largest sampled number


def installed() -> dict[str, str]:
    """The contenders that can run here."""
    torch = importlib.util.find_spec("torch")
    return {name: path for name, path in CONTENDERS.items() if torch or name != "pytorch"}


def measure(shape=SHAPE, *, turns=7, seconds=1.0, threads=None) -> Iterator[dict]:
    """A row for each contender: milliseconds of a pass, and ours over its time."""
    with contextlib.ExitStack() as stack:
        peers = {
            name: stack.enter_context(Peer(path, threads=threads, shape=shape))
            for name, path in installed().items()
        }
        first = {name: peer.call("passes", count=2) for name, peer in peers.items()}
        ours = first["tinygrad_llm"]["samples"]
        for name, result in first.items():
            check(result["samples"], ours, name)
        one = {name: peer.call("passes", count=1)["seconds"] for name, peer in peers.items()}
        counts = {name: max(1, round(seconds / one[name])) for name in peers}

        def turn(name):
            return peers[name].call("passes", count=counts[name])["seconds"] / counts[name]

        times = take_turns({name: lambda n=name: turn(n) for name in peers}, turns)
    for name in times:
        ratio = compare(times["tinygrad_llm"], times[name])
        yield {
            "peer": name,
            "shape": list(shape),
            "threads": threads or machine.cores(),
            "ms": 1e3 * statistics.median(times[name]),
            "time_ratio": ratio.median,
            "spread": [ratio.low, ratio.high],
        }


def memory(shape=SHAPE, lengths=LENGTHS) -> Iterator[dict]:
    """A row for each contender and length: megabytes of a pass, in a process of its own."""
    b, h, _, d = shape
    for name, path in installed().items():
        for length in lengths:
            with Peer(path, shape=shape) as peer:
                grown = peer.call("growth", length=length)
            yield {"peer": name, "shape": [b, h, length, d], "peak_mb": grown}


def check(samples: list, ours: list, what: str) -> None:
    """Raise unless values and gradients are equal."""
    for theirs, own in zip(np.array(samples), np.array(ours), strict=True):
        error = np.abs(theirs - own).max() / np.abs(own).max()
        if not error <= TOLERANCE:
            raise ArithmeticError(f"attention of {what} differs from ours by {error:.1e}")


def line(row: dict) -> str:
    """A row for people."""
    shape = tuple(row["shape"])
    if "peak_mb" in row:
        return f"{row['peer']:<14} {shape}: {row['peak_mb']:8.1f} MB at the peak of a pass"
    low, high = row["spread"]
    return (
        f"{row['peer']:<14} {shape}: {row['ms']:8.1f} ms forward and backward, "
        f"ours takes {row['time_ratio']:.2f} of it ({low:.2f}-{high:.2f})"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--shape", type=int, nargs=4, default=SHAPE, metavar="N", help="B H T D")
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS, metavar="T")
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="(default: 7)")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of a phase")
    args = parser.parse_args(argv)
    for row in measure(args.shape, turns=args.turns, seconds=args.seconds):
        print(json.dumps(row) if args.json else line(row), flush=True)
    for row in memory(args.shape, args.lengths):
        print(json.dumps(row) if args.json else line(row), flush=True)


if __name__ == "__main__":
    main()

"""Training for translation, ours beside PyTorch's: the same weights, batches, AdamW and dropout.

Run: python -m benchmarks.translation [--json] [--data train.en.gz train.de.gz] [--steps N]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks import machine
from benchmarks.peer import Peer
from benchmarks.turns import compare, take_turns

CONTENDERS = {
    "tinygrad_llm": "benchmarks.peers.translation:Ours",
    "pytorch": "benchmarks.peers.translation:PyTorch",
}
CHECKED, TOLERANCE = 4, 1e-3  # steps whose losses must be equal; nats


def installed() -> dict[str, str]:
    """The contenders that can run here."""
    torch = importlib.util.find_spec("torch")
    return {name: path for name, path in CONTENDERS.items() if torch or name != "pytorch"}


def measure(
    data=(), *, steps=8, turns=5, dropout=0.3, batch_tokens=4096, threads=None, **changes: Any
) -> Iterator[dict]:
    """A row for each contender, after both made equal losses without dropout.

    steps: of a phase. changes: of the model. Raises ArithmeticError where the losses differ.
    """
    given = {"data": list(data), "batch_tokens": batch_tokens, "changes": changes}
    check(given, threads)
    with contextlib.ExitStack() as stack:
        peers = {
            name: stack.enter_context(Peer(path, threads=threads, dropout=dropout, **given))
            for name, path in installed().items()
        }
        for peer in peers.values():
            peer.call("steps", count=2)
        last: dict[str, dict] = {}

        def turn(name: str) -> float:
            last[name] = peers[name].call("steps", count=steps)
            return last[name]["seconds"] / last[name]["tokens"]

        times = take_turns({name: lambda n=name: turn(n) for name in peers}, turns)
    for name, seconds in times.items():
        ratio = compare(seconds, times["tinygrad_llm"])
        yield {
            "peer": name,
            "threads": threads or machine.cores(),
            "dropout": dropout,
            "target_tokens_per_s": 1 / statistics.median(seconds),
            "epoch_s": statistics.median(seconds) * last[name]["tokens_of_epoch"],
            "peak_rss_mb": last[name]["peak_rss_mb"],
            "ratio": ratio.median,
            "spread": [ratio.low, ratio.high],
        }


def check(given: dict[str, Any], threads: int | None) -> None:
    """Raise unless equal weights and batches give equal losses, step by step."""
    losses = {}
    for name, path in installed().items():
        with Peer(path, threads=threads, dropout=0.0, **given) as peer:
            losses[name] = peer.call("steps", count=CHECKED)["losses"]
    ours = losses["tinygrad_llm"]
    for name, theirs in losses.items():
        if not all(abs(a - b) <= TOLERANCE for a, b in zip(theirs, ours, strict=True)):
            raise ArithmeticError(f"{name}: losses {theirs} differ from ours {ours}")


def line(row: dict) -> str:
    """A row for people."""
    low, high = row["spread"]
    return (
        f"{row['peer']:<14} {row['target_tokens_per_s']:9,.0f} target tokens/s, an epoch "
        f"{row['epoch_s']:,.1f} s, {row['peak_rss_mb']:7,.0f} MB  ours/its speed "
        f"{row['ratio']:5.2f} ({low:.2f}-{high:.2f})"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.translation", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--data", nargs=2, default=(), metavar="FILE", help="pairs (default: 29,000 of random ids)"
    )
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="of a phase (default: 8)")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--dropout", type=float, default=0.3, metavar="P", help="(default: 0.3)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores (default: all)")
    args = parser.parse_args(argv)
    settings = {name: getattr(args, name) for name in ("steps", "turns", "dropout", "threads")}
    for row in measure(args.data, **settings):
        print(json.dumps(row) if args.json else line(row), flush=True)


if __name__ == "__main__":
    main()

"""A training step of ours beside PyTorch's, JAX's and tinygrad's: in turns, each its own process.

Run: python -m benchmarks.training [--json] [--workloads char-cpu baby] [--peers pytorch jax]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator

from benchmarks import machine
from benchmarks.peer import Peer
from benchmarks.peers import OURS, PEERS, installed
from benchmarks.turns import Ratio, compare, take_turns
from benchmarks.workloads import WORKLOADS, Workload

CHECKED = 4  # steps whose losses are compared; the last one tells how long a step takes
TOLERANCE = 1e-3  # nats
DEFAULT_WORKLOADS = ("char-cpu", "baby", "gpt2-124M")
DEFAULT_PEERS = ("pytorch", "torch.compile", "jax", "tinygrad")


def measure(workload: str, peers, *, turns=5, seconds=2.0, threads=None) -> Iterator[dict]:
    """A row for ours and for each of the peers, after their losses were found equal to ours.

    seconds: about as long as one phase shall be. Raises ArithmeticError where the losses differ.
    """
    yield from contest(WORKLOADS[workload], workload, peers, turns, seconds, threads)


def contest(
    work: Workload, name: str, peers, turns: int, seconds: float, threads
) -> Iterator[dict]:
    """The same for a workload of any shape."""
    with contextlib.ExitStack() as stack:
        running, first = {}, {}
        for peer in (OURS, *peers):
            process = Peer(PEERS[peer][1], threads=threads, **work.settings())
            stack.enter_context(process)
            try:
                first[peer] = warm_up(process)
            except RuntimeError as error:
                if peer == OURS:
                    raise
                print(f"{name}: {peer} is left out, it does not run here: {error}", file=sys.stderr)
                continue
            check(first[peer]["losses"], first[OURS]["losses"], f"{peer} on {name}")
            running[peer] = process
        counts = {
            peer: max(1, round(seconds / warm["step_seconds"])) for peer, warm in first.items()
        }
        times = take_turns(
            {p: lambda p=p: step_seconds(running[p], counts[p]) for p in running}, turns
        )
        for peer, process in running.items():
            peak = process.call("steps", count=0)["peak_rss_mb"]
            yield {"workload": name, "peer": peer} | row(
                work, times[peer], compare(times[peer], times[OURS]), peak, first[peer]
            )


def warm_up(peer: Peer) -> dict:
    """The first steps: compilation, and the losses to check."""
    start = peer.call("steps", count=CHECKED - 1)
    last = peer.call("steps", count=1)
    return {
        "losses": start["losses"] + last["losses"],
        "warm_up_s": start["seconds"],
        "step_seconds": last["seconds"],
    }


def step_seconds(peer: Peer, count: int) -> float:
    """The mean over one phase of `count` steps."""
    return peer.call("steps", count=count)["seconds"] / count


def check(losses: list[float], ours: list[float], what: str) -> None:
    """Raise unless equal weights and batches gave equal losses, step by step."""
    if not all(abs(a - b) <= TOLERANCE for a, b in zip(losses, ours, strict=True)):
        raise ArithmeticError(f"{what}: losses {losses} differ from ours {ours}; nothing is timed")


def row(work: Workload, times: list[float], ratio: Ratio, peak: float, first: dict) -> dict:
    """The figures of one contender; ratio: tokens/s of ours over its."""
    median = statistics.median(times)
    return {
        "step_ms": 1e3 * median,
        "tokens_per_s": work.tokens / median,
        "peak_rss_mb": peak,
        "ratio": ratio.median,
        "spread": [ratio.low, ratio.high],
        "warm_up_s": first["warm_up_s"],
        "first_losses": first["losses"],
    }


def line(row: dict) -> str:
    """A row for people."""
    low, high = row["spread"]
    return (
        f"{row['workload']:<10} {row['peer']:<14} {row['step_ms']:9.1f} ms/step "
        f"{row['tokens_per_s']:9,.0f} tokens/s {row['peak_rss_mb']:7,.0f} MB  "
        f"ours/its speed {row['ratio']:5.2f} ({low:.2f}-{high:.2f})  "
        f"first {CHECKED - 1} steps {row['warm_up_s']:.1f} s"
    )


def chosen_peers(wanted: list[str] | None) -> list[str]:
    """The wanted peers, or those of the default that are installed; says on stderr who is not."""
    there = installed()
    for name in wanted or DEFAULT_PEERS:
        if name not in there:
            print(f"{name} is left out: {PEERS[name][0]} is not installed", file=sys.stderr)
    return [name for name in wanted or DEFAULT_PEERS if name in there and name != OURS]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--workloads",
        nargs="+",
        choices=WORKLOADS,
        default=DEFAULT_WORKLOADS,
        metavar="NAME",
        help=f"of {', '.join(WORKLOADS)} (default: the first three)",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=PEERS,
        metavar="NAME",
        help=f"of {', '.join(PEERS)} (default: {' '.join(DEFAULT_PEERS)})",
    )
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of a phase")
    parser.add_argument(
        "--threads",
        type=int,
        choices=range(1, machine.cores() + 1),
        metavar="N",
        help="cores that each contender may use (default: all)",
    )
    args = parser.parse_args(argv)
    peers = chosen_peers(args.peers)
    for name in args.workloads:
        for row in measure(
            name, peers, turns=args.turns, seconds=args.seconds, threads=args.threads
        ):
            print(json.dumps(row) if args.json else line(row), flush=True)


if __name__ == "__main__":
    main()

"""A training step of ours beside PyTorch's, JAX's and tinygrad's: in turns, each its own process.

Run: python -m benchmarks.training [--json] [--workloads char-cpu baby] [--peers pytorch jax]

Every row carries its `floor`: the share of the step that its arithmetic would take, 6 operations a
parameter and token (Kaplan et al. 2020, arXiv 2001.08361), at the machine's best measured product.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import machine
from benchmarks.peer import Peer
from benchmarks.peers import OURS, PEERS, installed
from benchmarks.turns import compare, take_turns
from benchmarks.workloads import WORKLOADS, Workload
from tinygrad_llm.recipes.forecast import num_parameters

CHECKED = 4  # steps whose losses are compared; the last one tells how long a step takes
TOLERANCE = 1e-3  # nats
DEFAULT_WORKLOADS = ("char-cpu", "baby", "gpt2-124M")
DEFAULT_PEERS = ("pytorch", "torch.compile", "jax", "tinygrad")
PYTORCHS = ("pytorch", "pytorch-fused", "torch.compile")
BEST = "best of PyTorch"  # in each turn the fastest of them
PRODUCT = "product"  # takes turns too: what the machine can do while the others are measured


class Runner(NamedTuple):
    """A contender whose first losses were ours. count: the steps of one of its phases."""

    process: Peer
    first: dict
    count: int

    def phase(self) -> float:
        """Seconds of a step, the mean over one phase."""
        return self.process.call("steps", count=self.count)["seconds"] / self.count

    def peak(self) -> float:
        """The most megabytes that its process ever held."""
        return self.process.call("steps", count=0)["peak_rss_mb"]


def measure(workload: str, peers, *, turns=5, seconds=2.0, threads=None) -> Iterator[dict]:
    """A row for ours and for each of the peers, after their losses were found equal to ours; then
    one for the best of PyTorch, where several ways of it ran.

    seconds: about as long as one phase shall be. Raises ArithmeticError where the losses differ.
    """
    work = WORKLOADS[workload]
    with contextlib.ExitStack() as stack:
        runners = start(stack, work, workload, peers, seconds, threads)
        limits = stack.enter_context(Peer("benchmarks.peers.limits:Limits", threads=threads))
        phases = {peer: runner.phase for peer, runner in runners.items()}
        times = take_turns({**phases, PRODUCT: lambda: limits.call("seconds")}, turns)
        facts = {
            peer: {
                "peak_rss_mb": runner.peak(),
                "warm_up_s": runner.first["warm_up_s"],
                "first_losses": runner.first["losses"],
            }
            for peer, runner in runners.items()
        }
    for row in results(work, times, facts):
        yield {"workload": workload, **row}


def results(work: Workload, times: dict[str, list[float]], facts: dict[str, dict]) -> list[dict]:
    """The rows from the seconds of every turn and what else is known of each contender."""
    floor, facts = floor_seconds(work, min(times[PRODUCT])), dict(facts)
    ways = [peer for peer in PYTORCHS if peer in facts]
    if len(ways) > 1:
        fastest = [min(turn) for turn in zip(*(times[peer] for peer in ways), strict=True)]
        times = times | {BEST: fastest}
        # the least of each, as if the fastest were the leanest too
        facts[BEST] = {
            key: min(facts[peer][key] for peer in ways) for key in ("peak_rss_mb", "warm_up_s")
        }
    return [
        {"peer": peer, **figures(work, times[peer], times[OURS])}
        | {"floor": floor / statistics.median(times[peer]), **known}
        for peer, known in facts.items()
    ]


def start(
    stack: contextlib.ExitStack, work: Workload, name: str, peers, seconds: float, threads
) -> dict[str, Runner]:
    """Ours and the peers that run here, each warm and checked, in processes that live as long as
    the stack.
    """
    runners: dict[str, Runner] = {}
    for peer in (OURS, *peers):
        process = stack.enter_context(Peer(PEERS[peer][1], threads=threads, **work.settings()))
        try:
            first = warm_up(process)
        except RuntimeError as error:
            if peer == OURS:
                raise
            print(f"{name}: {peer} is left out, it does not run here: {error}", file=sys.stderr)
            continue
        ours = runners[OURS].first if runners else first
        check(first["losses"], ours["losses"], f"{peer} on {name}")
        runners[peer] = Runner(process, first, max(1, round(seconds / first["step_seconds"])))
    return runners


def warm_up(peer: Peer) -> dict:
    """The first steps: compilation, and the losses to check."""
    start = peer.call("steps", count=CHECKED - 1)
    last = peer.call("steps", count=1)
    return {
        "losses": start["losses"] + last["losses"],
        "warm_up_s": start["seconds"],
        "step_seconds": last["seconds"],
    }


def check(losses: list[float], ours: list[float], what: str) -> None:
    """Raise unless equal weights and batches gave equal losses, step by step."""
    if not all(abs(a - b) <= TOLERANCE for a, b in zip(losses, ours, strict=True)):
        raise ArithmeticError(f"{what}: losses {losses} differ from ours {ours}; nothing is timed")


def floor_seconds(work: Workload, second: float) -> float:
    """Seconds that a step's arithmetic alone would take: 6 operations a parameter and token.

    second: what 10^9 operations of the machine's best measured product take.
    """
    return 6 * num_parameters(work.model) * work.tokens * second / 1e9


def figures(work: Workload, times: list[float], ours: list[float]) -> dict:
    """The speed of one contender; ratio: its seconds over ours, turn by turn."""
    median, ratio = statistics.median(times), compare(times, ours)
    return {
        "step_ms": 1e3 * median,
        "tokens_per_s": work.tokens / median,
        "ratio": ratio.median,
        "spread": [ratio.low, ratio.high],
    }


def line(row: dict) -> str:
    """A row for people."""
    low, high = row["spread"]
    return (
        f"{row['workload']:<10} {row['peer']:<15} {row['step_ms']:9.1f} ms/step "
        f"{row['tokens_per_s']:9,.0f} tokens/s {row['peak_rss_mb']:7,.0f} MB  "
        f"ours/its speed {row['ratio']:5.2f} ({low:.2f}-{high:.2f})  "
        f"floor {row['floor']:.2f}  first {CHECKED - 1} steps {row['warm_up_s']:.1f} s"
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

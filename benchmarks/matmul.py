"""Our matrix product beside NumPy's OpenBLAS, PyTorch's and JAX's, in turns, each its own process,
on the shapes that the workloads use.

Run: python -m benchmarks.matmul [--json] [--threads 1 2] [--peers numpy pytorch jax] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
import sys
from collections.abc import Iterator

from benchmarks import machine
from benchmarks.peer import Peer
from benchmarks.peers import OURS
from benchmarks.peers.products import FORMS
from benchmarks.turns import compare, take_turns

# (M, K, N) of y (M, N) = x (M, K) W (N, K)^T, of char-cpu, baby and gpt2-124M
SHAPES = [
    *((768, k, n) for k, n in [(128, 384), (128, 128), (128, 512), (512, 128)]),
    *((2048, k, n) for k, n in [(384, 1152), (384, 384), (384, 1536), (1536, 384)]),
    *((256, k, n) for k, n in [(768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 50257)]),
]
QUICK = [(96, 128, 64), (37, 65, 101)]
# name -> (the package it needs, its class)
PEERS = {
    "numpy": ("numpy", "benchmarks.peers.products:NumPy"),
    "pytorch": ("torch", "benchmarks.peers.products:PyTorch"),
    "jax": ("jax", "benchmarks.peers.products:JAX"),
}
DEFAULT_PEERS = ("numpy", "pytorch")


def measure(
    threads=(1, 2), turns=7, seconds=0.15, shapes=SHAPES, peers=DEFAULT_PEERS
) -> Iterator[dict]:
    """A row for each shape, form, peer and number of threads; then a summary for each peer and
    number of threads.

    turns: phases of each contender; seconds: the length of one. Raises RuntimeError where a
    contender's product is not NumPy's.
    """
    for count in threads:
        with contextlib.ExitStack() as stack:
            running = {
                name: stack.enter_context(Peer(path, threads=count))
                for name, path in contenders(peers).items()
            }
            yield from _summarized({"threads": count}, running, shapes, turns, seconds)


def contenders(peers) -> dict[str, str]:
    """Ours and the peers that are installed; says on stderr who is not."""
    found = {OURS: "benchmarks.peers.products:Ours"}
    for name in peers:
        package, path = PEERS[name]
        if importlib.util.find_spec(package):
            found[name] = path
        else:
            print(f"{name} is left out: {package} is not installed", file=sys.stderr)
    return found


def _summarized(facts: dict, running: dict, shapes, turns: int, seconds: float) -> Iterator[dict]:
    ratios: dict[str, list[float]] = {name: [] for name in running if name != OURS}
    for shape in shapes:
        for row in _rows(running, shape, turns, seconds):
            ratios[row["peer"]].append(row["ratio"])
            yield facts | row
    for peer, values in ratios.items():
        mean = statistics.geometric_mean(values)
        yield facts | {"peer": peer, "geometric_mean": mean, "minimum": min(values)}


def _rows(running: dict[str, Peer], shape, turns: int, seconds: float) -> Iterator[dict]:
    m, k, n = shape
    for process in running.values():
        process.call("take", shape=shape)
    for index, form in enumerate(FORMS):
        phases = {
            name: lambda p=process: p.call("phase", form=index, seconds=seconds)
            for name, process in running.items()
        }
        times = take_turns(phases, turns)
        speeds = {name: 2e-9 * m * k * n / statistics.median(t) for name, t in times.items()}
        for peer in (name for name in running if name != OURS):
            ratio = compare(times[peer], times[OURS])
            yield {
                **{"m": m, "k": k, "n": n, "form": form, "peer": peer},
                "gflops": speeds[OURS],
                "peer_gflops": speeds[peer],
                "ratio": ratio.median,
                "spread": [ratio.low, ratio.high],
            }


def line(row: dict) -> str:
    """A row for people."""
    if "minimum" in row:
        return (
            f"{row['threads']} threads, over {row['peer']}: geometric mean "
            f"{row['geometric_mean']:.3f}, minimum {row['minimum']:.3f}"
        )
    shape = f"({row['m']}, {row['k']}, {row['n']})"
    low, high = row["spread"]
    return (
        f"{row['threads']} threads  {shape:<20} {row['form']:<12} {row['gflops']:6.1f} GFLOP/s  "
        f"{row['peer']:<8} {row['peer_gflops']:6.1f}  "
        f"ratio {row['ratio']:.2f} ({low:.2f}-{high:.2f})"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matmul", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    counts = range(1, machine.cores() + 1)
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        choices=counts,
        default=list(counts)[:2],
        metavar="N",
        help="cores that each contender may use (default: one, then two)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        default=DEFAULT_PEERS,
        metavar="NAME",
        help=f"of {', '.join(PEERS)} (default: {' '.join(DEFAULT_PEERS)})",
    )
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="(default: 7)")
    parser.add_argument("--quick", action="store_true", help="two small shapes, to see it work")
    args = parser.parse_args(argv)
    options = {"shapes": QUICK, "seconds": 0.01} if args.quick else {}
    for row in measure(args.threads, args.turns, peers=args.peers, **options):
        print(json.dumps(row) if args.json else line(row), flush=True)


if __name__ == "__main__":
    main()

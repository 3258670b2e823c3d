"""tinygrad-llm bench: how fast the versions of an operation are on this machine."""

from __future__ import annotations

import argparse
import json

from tinygrad_llm.cli.options import add_command, add_threads, apply_threads


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "bench",
        "GFLOP/s of the matrix product as textbook loops, NumPy and our SIMD tile.",
        "tinygrad-llm bench matmul --shape 1024 1024 1024 --threads 1",
    )
    parser.add_argument("operation", choices=["matmul"], help="what to time")
    parser.add_argument(
        "--shape",
        type=int,
        nargs=3,
        action="append",
        metavar=("M", "K", "N"),
        help="(M, K) times (K, N); repeatable (default: five shapes of small and large GPTs)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from tinygrad_llm.recipes.bench import SHAPES, VERSIONS, compare_products

    apply_threads(args)
    shapes = [tuple(shape) for shape in args.shape or SHAPES]
    if args.json:
        for speed in compare_products(shapes):
            print(json.dumps(speed._asdict()), flush=True)
        return
    print(f"{'GFLOP/s':<20}" + "".join(f"{name:>10}" for name in VERSIONS))
    for shape in shapes:
        speeds = {speed.version: speed.gflops for speed in compare_products([shape])}
        cells = (f"{speeds[name]:10.3f}" if name in speeds else f"{'-':>10}" for name in VERSIONS)
        print(f"{' x '.join(map(str, shape)):<20}" + "".join(cells), flush=True)
    print("equal to NumPy's product first, then timed; -: Python's loops would take too long")

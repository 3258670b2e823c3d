"""How the cost of a token grows with context, batch, width and threads: ours, PyTorch's, and what
the arithmetic alone would say; as rows and as PNG files.

Run: python -m benchmarks.curves [--json] [--only context] [--out FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine
from benchmarks.peers import OURS, installed
from benchmarks.training import contest
from benchmarks.workloads import Workload
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.recipes.costs import flops_per_token

FOLDER = Path(__file__).parent / "results"
TOKENS = 4096  # in a step of the curve over contexts


class Curve(NamedTuple):
    """points: what the axis says -> (workload, threads; None for all cores)."""

    label: str
    points: dict[int, tuple[Workload, int | None]]


def workload(*, context=128, batch=8, width=256, layers=4) -> Workload:
    """A GPT of 64-wide heads without biases on 65 characters."""
    model = GPTConfig(65, context, layers, width // 64, width, bias=False)
    return Workload(model, batch, context)


def curves(quick: bool = False) -> dict[str, Curve]:
    """The four of them; quick: two tiny points each, to see the command work."""
    contexts = [8, 16] if quick else [64, 128, 256, 512, 1024, 2048, 4096]
    tokens, layers = (32, 1) if quick else (TOKENS, 4)
    small = {"context": 8, "batch": 2, "layers": 1, "width": 64} if quick else {}
    over_threads = workload(**small) if quick else workload(context=256, width=384, layers=6)
    return {
        "context": Curve(
            f"context, at {tokens:,} tokens a step",
            {t: (workload(context=t, batch=tokens // t, layers=layers), None) for t in contexts},
        ),
        "batch": Curve(
            "sequences of 64 tokens in a batch" if not quick else "sequences in a batch",
            {
                b: (workload(**{"context": 64, **small, "batch": b}), None)
                for b in ([1, 2] if quick else [1, 2, 4, 8, 16, 32, 64])
            },
        ),
        "width": Curve(
            "width",
            {
                w: (workload(**{**small, "width": w}), None)
                for w in ([64, 128] if quick else [64, 128, 256, 512, 768, 1024])
            },
        ),
        "threads": Curve("threads", {n: (over_threads, n) for n in range(1, machine.cores() + 1)}),
    }


def measure(only=None, *, quick=False, turns=5, seconds=1.0) -> Iterator[dict]:
    """A row for each point and contender: microseconds and operations of a token."""
    peers = [name for name in ("pytorch",) if name in installed()]
    for name, curve in curves(quick).items():
        if only and name not in only:
            continue
        for x, (work, threads) in curve.points.items():
            for row in contest(work, f"{name} {x}", peers, turns, seconds, threads):
                yield {
                    "curve": name,
                    "label": curve.label,
                    "x": x,
                    "peer": row["peer"],
                    "us_per_token": 1e6 / row["tokens_per_s"],
                    "flops_per_token": flops_per_token(work.model),
                    "peak_rss_mb": row["peak_rss_mb"],
                }


def growth(rows: list[dict], curve: str) -> tuple[float, float]:
    """How often our cost per token at the last point is that of the first, and how often the
    arithmetic's.
    """
    ours = [row for row in rows if row["curve"] == curve and row["peer"] == OURS]
    first, last = ours[0], ours[-1]
    return tuple(last[key] / first[key] for key in ("us_per_token", "flops_per_token"))


def draw(rows: list[dict], folder: Path) -> list[Path]:
    """One PNG file for each curve; needs matplotlib, which the extra `plot` installs."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(name, rows, folder) for name in dict.fromkeys(row["curve"] for row in rows)]


def _draw(name: str, rows: list[dict], folder: Path) -> Path:
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["curve"] == name]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for peer in dict.fromkeys(row["peer"] for row in rows):
        points = [(row["x"], row["us_per_token"]) for row in rows if row["peer"] == peer]
        axes.plot(*zip(*points, strict=True), marker="o", label=peer)
    axes.plot(*zip(*_ideal(name, rows), strict=True), "--", color="grey", label=IDEALS[name])
    xs = sorted({row["x"] for row in rows})
    axes.set(xscale="log", yscale="log", xlabel=rows[0]["label"], ylabel="microseconds a token")
    axes.set_xticks(xs, [f"{x:,}" for x in xs], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=120)
    return path


IDEALS = {
    **dict.fromkeys(("context", "batch", "width"), "ours, grown as the arithmetic grows"),
    "threads": "ours, if every thread brought its whole speed",
}


def _ideal(name: str, rows: list[dict]) -> list[tuple[int, float]]:
    """Our first point, carried on."""
    ours = [row for row in rows if row["peer"] == OURS]
    unit = ours[0]["us_per_token"] / ours[0]["flops_per_token"]
    return [
        (row["x"], unit * row["flops_per_token"] / (row["x"] if name == "threads" else 1))
        for row in ours
    ]


def line(row: dict) -> str:
    """A row for people."""
    return (
        f"{row['curve']:<8} {row['x']:>5}  {row['peer']:<14} "
        f"{row['us_per_token']:8.2f} us/token {row['flops_per_token'] / 1e6:8.2f} MFLOP/token "
        f"{row['peak_rss_mb']:7,.0f} MB"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", nargs="+", choices=curves(), metavar="CURVE")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--quick", action="store_true", help="tiny models, to see it work")
    args = parser.parse_args(argv)
    rows = []
    seconds = 0.02 if args.quick else 1.0
    for row in measure(args.only, quick=args.quick, turns=args.turns, seconds=seconds):
        rows.append(row)
        print(json.dumps(row) if args.json else line(row), flush=True)
    draw(rows, args.out)


if __name__ == "__main__":
    main()

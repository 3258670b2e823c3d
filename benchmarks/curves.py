"""How the cost of a token grows with context, batch, width and threads: ours, PyTorch's, and what
the arithmetic alone would say; as rows and as PNG files.

Run: python -m benchmarks.curves [--json] [--only context] [--out FOLDER] [--quick]

All points of a curve, ours beside PyTorch's, run in turns, so that a machine that drifts bends none
of them; they are in memory together, 9 GB for the contexts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine
from benchmarks.peers import OURS, installed
from benchmarks.training import start
from benchmarks.turns import compare, take_turns
from benchmarks.workloads import Workload
from tinygrad_llm.models.gpt import GPTConfig

FOLDER = Path(__file__).parent / "results"
TOKENS = 4096  # in a step of the curve over contexts
# Products for each score of causal attention: Q K^T and P V forward, then dV, dP, dQ and dK; and a
# seventh that makes the scores again, as every attention without a T x T array has to. Dao 2023,
# FlashAttention-2, arXiv 2307.08691, section 4.1, counts that one too: backward is 2.5 x forward.
PRODUCTS = (6, 7)


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


def arithmetic(model: GPTConfig, products: int) -> int:
    """Operations of a training step for one token of a full context.

    6 for every parameter of a matrix that multiplies (Kaplan et al. 2020, arXiv 2001.08361, section
    2.1; positions are only looked up), and 2 x width for each of the `products` and each of the
    (T + 1) / 2 scores that the causal mask leaves a token, in every layer.
    """
    parameters = 12 * model.n_layer * model.n_embd**2 + model.vocab_size * model.n_embd
    return 6 * parameters + products * model.n_layer * model.n_embd * (model.n_positions + 1)


def measure(only=None, *, quick=False, turns=5, seconds=1.0) -> Iterator[dict]:
    """For each curve a row for each point and contender, microseconds and operations of a token;
    then one with the growth from the first point to the last.
    """
    for name, curve in curves(quick).items():
        if not only or name in only:
            yield from _measure(name, curve, turns, seconds)


def _measure(name: str, curve: Curve, turns: int, seconds: float) -> Iterator[dict]:
    peers = [peer for peer in ("pytorch",) if peer in installed()]
    with contextlib.ExitStack() as stack:
        runners = {
            (x, peer): runner
            for x, (work, threads) in curve.points.items()
            for peer, runner in start(stack, work, f"{name} {x}", peers, seconds, threads).items()
        }
        times = take_turns({place: runner.phase for place, runner in runners.items()}, turns)
        peaks = {place: runner.peak() for place, runner in runners.items()}
    rows = []
    for (x, peer), taken in times.items():
        work, _ = curve.points[x]
        rows.append(
            {
                "curve": name,
                "label": curve.label,
                "x": x,
                "peer": peer,
                "us_per_token": 1e6 * statistics.median(taken) / work.tokens,
                **{f"flops_{count}": arithmetic(work.model, count) for count in PRODUCTS},
                "peak_rss_mb": peaks[x, peer],
                "us_by_turn": [1e6 * seconds / work.tokens for seconds in taken],
            }
        )
    yield from rows
    yield growth(rows)


def growth(rows: list[dict]) -> dict:
    """How often the cost at the last point of a curve is that of the first: each contender's, turn
    by turn, the arithmetic's by either count, and ours over the arithmetic's.
    """
    of_peer: dict[str, list[dict]] = {}
    for row in rows:
        of_peer.setdefault(row["peer"], []).append(row)
    times, spread = {}, {}
    for peer, points in of_peer.items():
        ratio = compare(points[-1]["us_by_turn"], points[0]["us_by_turn"])
        times[peer], spread[peer] = ratio.median, [ratio.low, ratio.high]
    first, last = rows[0], rows[-1]
    counts = {str(n): last[f"flops_{n}"] / first[f"flops_{n}"] for n in PRODUCTS}
    return {
        "curve": first["curve"],
        "from": first["x"],
        "to": last["x"],
        "turns": len(first["us_by_turn"]),
        "growth": times,
        "spread": spread,
        "arithmetic": counts,
        "ours_over_arithmetic": {n: times[OURS] / count for n, count in counts.items()},
    }


def draw(rows: list[dict], folder: Path) -> list[Path]:
    """One PNG file for each curve; needs matplotlib, which the extra `plot` installs."""
    folder.mkdir(parents=True, exist_ok=True)
    points = [row for row in rows if "x" in row]
    return [_draw(name, points, folder) for name in dict.fromkeys(row["curve"] for row in points)]


def _draw(name: str, rows: list[dict], folder: Path) -> Path:
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["curve"] == name]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for peer in dict.fromkeys(row["peer"] for row in rows):
        points = [(row["x"], row["us_per_token"]) for row in rows if row["peer"] == peer]
        axes.plot(*zip(*points, strict=True), marker="o", label=peer)
    for products, style in zip(PRODUCTS, (":", "--"), strict=True):
        points, label = _ideal(name, rows, products), IDEALS[name].format(products)
        axes.plot(*zip(*points, strict=True), style, color="grey", label=label)
        if name == "threads":  # the arithmetic is the same at all of its points
            break
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
    **dict.fromkeys(
        ("context", "batch", "width"), "ours, grown as the arithmetic, {} products a score"
    ),
    "threads": "ours, if every thread brought its whole speed",
}


def _ideal(name: str, rows: list[dict], products: int) -> list[tuple[int, float]]:
    """Our first point, carried on."""
    ours, flops = [row for row in rows if row["peer"] == OURS], f"flops_{products}"
    unit = ours[0]["us_per_token"] / ours[0][flops]
    return [
        (row["x"], unit * row[flops] / (row["x"] if name == "threads" else 1)) for row in ours
    ]


def line(row: dict) -> str:
    """A row for people."""
    if "growth" in row:
        return growth_line(row)
    flops = " or ".join(f"{row[f'flops_{count}'] / 1e6:.2f}" for count in PRODUCTS)
    return (
        f"{row['curve']:<8} {row['x']:>5}  {row['peer']:<14} "
        f"{row['us_per_token']:8.2f} us/token {flops:>16} MFLOP/token {row['peak_rss_mb']:7,.0f} MB"
    )


def growth_line(row: dict) -> str:
    """The growth of a curve as a sentence."""
    shares = ", ".join(
        f"{peer}'s {times:.2f} times ({row['spread'][peer][0]:.2f}-{row['spread'][peer][1]:.2f})"
        for peer, times in row["growth"].items()
    )
    counts, ratios = (
        " or ".join(f"{x:.2f}" for x in row[key].values())
        for key in ("arithmetic", "ours_over_arithmetic")
    )
    return (
        f"From {row['curve']} {row['from']:,} to {row['to']:,} the cost of a token grows: {shares} "
        f"over {row['turns']} turns; the arithmetic's {counts} times, by 6 products a score of "
        f"attention or by 7, the scores made again. Ours over the arithmetic: {ratios}."
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

"""Rows of measurements as Markdown: RESULTS.md's sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.curves import growth
from benchmarks.peers import OURS

FLOOR = "floor"  # the row of a workload that tells what the arithmetic alone would take


def table(heads: str, rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; heads: the columns' names with | between."""
    columns = [head.strip() for head in heads.split("|")]
    lines = [columns, ["---"] * len(columns), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def matmul(rows: list[dict]) -> str:
    body = (
        (
            row["threads"],
            f"({row['m']}, {row['k']}, {row['n']})",
            row["form"],
            f"{row['gflops']:.1f}",
            f"{row['numpy_gflops']:.1f}",
            f"{row['ratio']:.2f}",
            _spread(row),
        )
        for row in rows
        if "form" in row
    )
    summary = "\n".join(
        f"- {row['threads']} threads: geometric mean {row['geometric_mean']:.3f}, "
        f"minimum {row['minimum']:.3f}"
        for row in rows
        if "minimum" in row
    )
    heads = "threads | (M, K, N) | form | ours, GFLOP/s | NumPy's OpenBLAS | ratio | range"
    return f"{summary}\n\n{table(heads, body)}"


def training(rows: list[dict]) -> str:
    own = {row["workload"]: row["peak_rss_mb"] for row in rows if row["peer"] == OURS}

    def cells(row: dict) -> Iterable[object]:
        yield from (row["workload"], row["peer"], f"{row['step_ms']:,.1f}")
        if row["peer"] == FLOOR:
            yield from (f"{row['tokens_per_s']:,.0f}", "", f"{row['ratio']:.2f}", "", "", "")
            return
        yield from (f"{row['tokens_per_s']:,.0f}", f"{row['peak_rss_mb']:,.0f}")
        yield from (f"{row['ratio']:.2f}", _spread(row))
        yield from (f"{own[row['workload']] / row['peak_rss_mb']:.2f}", f"{row['warm_up_s']:.1f}")

    heads = (
        "workload | contender | ms a step | tokens/s | peak MB | our speed over its | range | "
        "our memory over its | first 3 steps, s"
    )
    return table(heads, map(cells, rows))


def attention(rows: list[dict]) -> str:
    times = (
        (r["peer"], tuple(r["shape"]), f"{r['ms']:.1f}", f"{r['time_ratio']:.2f}", _spread(r))
        for r in rows
        if "ms" in r
    )
    memory = (
        (r["peer"], tuple(r["shape"]), f"{r['peak_mb']:.1f}", f"{r['peak_mb'] / r['shape'][2]:.4f}")
        for r in rows
        if "peak_mb" in r
    )
    return "\n\n".join(
        [
            table(
                "contender | (B, H, T, D) | ms, forward and backward | our time over its | range",
                times,
            ),
            table("contender | (B, H, T, D) | MB at the peak of a pass | MB for each of T", memory),
        ]
    )


def curves(rows: list[dict]) -> str:
    parts = []
    for name in dict.fromkeys(row["curve"] for row in rows):
        ours, arithmetic = growth(rows, name)
        first, last = ([row["x"] for row in rows if row["curve"] == name][i] for i in (0, -1))
        parts.append(
            f"![cost of a token over {name}](results/{name}.png)\n\n"
            f"From {name} {first:,} to {last:,} our token costs {ours:.2f} times as much; its "
            f"arithmetic grows {arithmetic:.2f} times."
        )
    return "\n\n".join(parts)


def ops(rows: list[dict]) -> str:
    heads = "operation | NumPy, us | kernel, us | NumPy's time over the kernel's"
    return table(
        heads,
        (
            (
                row["op"],
                f"{row['numpy']:,.0f}",
                f"{row['kernel']:,.0f}" if "kernel" in row else "",
                f"{row['numpy'] / row['kernel']:.1f}" if "kernel" in row else "",
            )
            for row in rows
        ),
    )


def tokenizers(rows: list[dict]) -> str:
    return table(
        "work | text, MB | contender | seconds | MB/s | our speed over its | range",
        (
            (
                row["work"],
                f"{row['mb']:.1f}",
                row["peer"],
                f"{row['seconds']:.3f}",
                f"{row['mb_per_s']:.1f}",
                f"{row['ratio']:.2f}",
                _spread(row),
            )
            for row in rows
        ),
    )


def inference(rows: list[dict]) -> str:
    speeds = (
        (
            row["workload"],
            row["peer"],
            f"{row['tokens_per_s']:,.1f}",
            f"{row['peak_rss_mb']:,.0f}",
            f"{row['ratio']:.2f}",
            _spread(row),
        )
        for row in rows
        if "ratio" in row
    )
    caches = (
        f"- {row['workload']}: computed {row['computed_mb']:.2f} MB, measured "
        f"{row['measured_mb']:.2f} MB"
        for row in rows
        if "computed_mb" in row
    )
    heads = "workload | contender | tokens/s | peak MB | our speed over its | range"
    return "\n".join([table(heads, speeds), "", *caches])


def _spread(row: dict) -> str:
    return "{:.2f}-{:.2f}".format(*row["spread"])


RENDER: dict[str, tuple[str, Callable[[list[dict]], str]]] = {
    "training": ("Training steps", training),
    "matmul": ("Matrix products", matmul),
    "attention": ("Causal attention alone", attention),
    "curves": ("Cost of a token", curves),
    "tokenizers": ("Byte-pair encoding", tokenizers),
    "inference": ("Inference", inference),
    "ops": ("Every operation, forward and backward", ops),
}

"""Rows of measurements as Markdown: RESULTS.md's sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.curves import growth_line
from benchmarks.matmul import line as matmul_line
from benchmarks.peers import OURS


def table(heads: str, rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; heads: the columns' names with | between."""
    columns = [head.strip() for head in heads.split("|")]
    lines = [columns, ["---"] * len(columns), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def matmul(rows: list[dict]) -> str:
    """A line for each product, with two columns for each peer."""
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    products: dict[tuple, dict[str, dict]] = {}
    for row in rows:
        if "form" in row:
            shape = row["m"], row["k"], row["n"]
            products.setdefault((row["threads"], shape, row["form"]), {})[row["peer"]] = row
    body = (
        (*key, f"{found[peers[0]]['gflops']:.1f}", *(c for p in peers for c in _beside(found[p])))
        for key, found in products.items()
    )
    summary = "\n".join(f"- {matmul_line(row)}" for row in rows if "minimum" in row)
    heads = "threads | (M, K, N) | form | ours, GFLOP/s"
    return f"{summary}\n\n" + table(
        " | ".join([heads, *(f"{peer} | ours over {peer}" for peer in peers)]), body
    )


def _beside(row: dict) -> tuple[str, str]:
    return f"{row['peer_gflops']:.1f}", f"{row['ratio']:.2f} ({_spread(row)})"


def training(rows: list[dict]) -> str:
    own = {row["workload"]: row["peak_rss_mb"] for row in rows if row["peer"] == OURS}

    def cells(row: dict) -> Iterable[object]:
        yield row["workload"]
        yield row["peer"] + " (**ahead of us**)" * (row["ratio"] < 1)
        yield from (f"{row['step_ms']:,.1f}", f"{row['tokens_per_s']:,.0f}", f"{row['floor']:.2f}")
        yield from (f"{row['ratio']:.2f}", _spread(row), f"{row['peak_rss_mb']:,.0f}")
        yield from (f"{own[row['workload']] / row['peak_rss_mb']:.2f}", f"{row['warm_up_s']:.1f}")

    ahead = [f"{row['peer']} on {row['workload']}" for row in rows if row["ratio"] < 1]
    heads = (
        "workload | contender | ms a step | tokens/s | floor | our speed over its | range | "
        "peak MB | our memory over its | first 3 steps, s"
    )
    return (
        f"Ahead of us: {', '.join(ahead) or 'nobody'}. Floor: the share of a step that 6 "
        "operations a parameter and token take at the speed of the machine's best product. Best of "
        f"PyTorch: in each turn the fastest of its ways.\n\n{table(heads, map(cells, rows))}"
    )


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
    return "\n\n".join(
        f"![cost of a token over {row['curve']}](results/{row['curve']}.png)\n\n{growth_line(row)}"
        for row in rows
        if "growth" in row
    )


def ops(rows: list[dict]) -> str:
    def cells(row: dict) -> Iterable[str]:
        yield row["op"]
        for version in ("numpy", "kernel", "pytorch"):
            yield f"{row[version]:,.0f}" if version in row else ""
        ours = row.get("kernel", row["numpy"])  # what runs by default
        yield f"{row['numpy'] / row['kernel']:.1f}" if "kernel" in row else ""
        yield f"{row['pytorch'] / ours:.1f}" if "pytorch" in row else ""

    heads = "operation | NumPy, us | kernel, us | PyTorch, us | NumPy's over the kernel's"
    return table(f"{heads} | PyTorch's over ours", map(cells, rows))


def startup(rows: list[dict]) -> str:
    heads = "command | kernel cache | first message, s | first training step, s"
    return table(
        heads,
        (
            (
                row["command"],
                {"cold": "empty", "warm": "filled"}[row["cache"]],
                f"{row['message_s']:.2f}",
                f"{row['step_s']:.2f}" if "step_s" in row else "",
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


def translation(rows: list[dict]) -> str:
    heads = "contender | target tokens/s | an epoch, s | peak MB | our speed over its | range"
    return table(
        heads,
        (
            (
                row["peer"],
                f"{row['target_tokens_per_s']:,.0f}",
                f"{row['epoch_s']:.1f}",
                f"{row['peak_rss_mb']:,.0f}",
                f"{row['ratio']:.2f}",
                _spread(row),
            )
            for row in rows
        ),
    )


def _spread(row: dict) -> str:
    return "{:.2f}-{:.2f}".format(*row["spread"])


RENDER: dict[str, tuple[str, Callable[[list[dict]], str]]] = {
    "training": ("Training steps", training),
    "matmul": ("Matrix products", matmul),
    "attention": ("Causal attention alone", attention),
    "curves": ("Cost of a token", curves),
    "tokenizers": ("Byte-pair encoding", tokenizers),
    "startup": ("From the command to its first message and step", startup),
    "inference": ("Inference", inference),
    "translation": ("Training for translation", translation),
    "ops": ("Every operation, forward and backward", ops),
}

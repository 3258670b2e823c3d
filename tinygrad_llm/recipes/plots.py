"""loss.png: the two losses over the steps, so that one look says whether a run is healthy."""

from __future__ import annotations

from pathlib import Path

from tinygrad_llm.files import write_atomic
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.training.journal import read_journal

FILE = "loss.png"


def draw_losses(folder: Path, reporter: Reporter) -> None:
    """Draw log.jsonl as a picture; without matplotlib, say how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        reporter.note(f"{FILE} is not drawn without matplotlib; pip install matplotlib")
        return
    rows = read_journal(folder)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for key, label, style in (
        ("loss", "training batch", {"linewidth": 0.7, "alpha": 0.6}),
        ("validation_loss", "held-out text", {"marker": "o"}),
    ):
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            axes.plot(
                *zip(*points, strict=True), label=f"{label}, last {points[-1][1]:.3f}", **style
            )
    axes.set(xlabel="step", ylabel="loss, nats per token", title=str(folder.name))
    axes.grid(alpha=0.3)
    axes.legend()
    write_atomic(folder / FILE, lambda path: figure.savefig(path, dpi=120, format="png"))

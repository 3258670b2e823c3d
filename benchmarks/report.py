"""Measure everything and write RESULTS.md; what is not measured this time is taken from last time.

Run: python -m benchmarks.report [--only training matmul] [--quick]      (all of it: about an hour)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import attention, curves, inference, machine, matmul, tables, tokenizers, training
from benchmarks.peer import ROOT
from benchmarks.peers import OURS
from benchmarks.workloads import WORKLOADS
from tinygrad_llm.recipes.forecast import num_parameters
from tinygrad_llm.recipes.limits import measure_limits

OUT = Path(__file__).parent
COMMANDS = {
    "training": "python -m benchmarks.training --workloads char-cpu baby gpt2-124M baby-1024",
    "matmul": "python -m benchmarks.matmul",
    "attention": "python -m benchmarks.attention",
    "curves": "python -m benchmarks.curves",
    "tokenizers": "python -m benchmarks.tokenizers",
    "inference": "python -m benchmarks.inference",
    "ops": "pytest benchmarks",
}


def measure_training(quick: bool) -> Iterator[dict]:
    """The rows of benchmarks.training, and for each workload the floor: 6 operations a parameter
    and token at the speed of this machine's best product.
    """
    limits = measure_limits()
    options = {"turns": 1, "seconds": 0.05} if quick else {}
    peers = training.chosen_peers(["pytorch"] if quick else None)
    names = ["tiny"] if quick else [*training.DEFAULT_WORKLOADS, "baby-1024"]
    for name in names:
        rows = list(training.measure(name, peers, **options))
        yield from rows
        yield floor(name, next(row for row in rows if row["peer"] == OURS), limits.gflops)


def floor(name: str, ours: dict, gflops: float) -> dict:
    """The row of a contender that would do the arithmetic and nothing else."""
    work = WORKLOADS[name]
    seconds = 6 * num_parameters(work.model) * work.tokens / (gflops * 1e9)
    return {
        "workload": name,
        "peer": tables.FLOOR,
        "step_ms": 1e3 * seconds,
        "tokens_per_s": work.tokens / seconds,
        "ratio": 1e3 * seconds / ours["step_ms"],
    }


def measure_attention(quick: bool) -> Iterator[dict]:
    shape, lengths = ((1, 2, 64, 16), (128, 256)) if quick else (attention.SHAPE, attention.LENGTHS)
    yield from attention.measure(shape, **({"turns": 1, "seconds": 0.02} if quick else {}))
    yield from attention.memory(shape, lengths)


def measure_matmul(quick: bool) -> Iterable[dict]:
    if quick:
        return matmul.measure(threads=(1,), turns=1, seconds=0.01, shapes=matmul.QUICK)
    return matmul.measure(threads=range(1, min(2, machine.cores()) + 1))


def measure_curves(quick: bool) -> Iterable[dict]:
    return curves.measure(quick=quick, **({"turns": 1, "seconds": 0.02} if quick else {}))


def measure_tokenizers(quick: bool) -> Iterable[dict]:
    return tokenizers.measure_all(quick=quick)


def measure_inference(quick: bool) -> Iterable[dict]:
    return inference.measure_all(turns=1 if quick else 5, quick=quick)


def measure_ops(quick: bool) -> Iterator[dict]:
    """Medians from pytest-benchmark: microseconds by NumPy, and by the kernel if there is one."""
    some = ["-k", "gelu or add"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ops.json"
        command = [sys.executable, "-m", "pytest", "benchmarks", f"--benchmark-json={file}", *some]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        results = json.loads(file.read_text())["benchmarks"]
    rows: dict[str, dict] = {}
    for result in results:
        op, _, version = result["param"].rpartition("-")
        rows.setdefault(op, {"op": op})[version] = 1e6 * result["stats"]["median"]
    yield from rows.values()


MEASURE: dict[str, Callable[[bool], Iterable[dict]]] = {
    "training": measure_training,
    "matmul": measure_matmul,
    "attention": measure_attention,
    "curves": measure_curves,
    "tokenizers": measure_tokenizers,
    "inference": measure_inference,
    "ops": measure_ops,
}


def write(names: Iterable[str], out: Path, quick: bool) -> Path:
    """Measure the named sections, keep their rows in out/results, and write out/RESULTS.md."""
    results = out / "results"
    results.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        section = {
            "machine": machine.describe(),
            "quick": quick,
            "rows": list(MEASURE[name](quick)),
        }
        (results / f"{name}.json").write_text(json.dumps(section, indent=1) + "\n")
    path = out / "RESULTS.md"
    path.write_text(render(results))
    return path


def render(results: Path) -> str:
    """RESULTS.md from the sections that were ever measured."""
    parts = [
        "# Measured\n\nWritten by `python -m benchmarks.report`. Every contender's result was "
        "found equal to ours first; then they ran in turns, with pauses, and a ratio is the "
        "median over the turns, its range beside it."
    ]
    for name, (title, rendered) in tables.RENDER.items():
        file = results / f"{name}.json"
        if not file.exists():
            continue
        section = json.loads(file.read_text())
        if name == "curves":
            curves.draw(section["rows"], results)
        facts = ", ".join(f"{key} {value}" for key, value in section["machine"].items())
        warning = "\n\nA quick run on tiny sizes: its figures mean nothing." * section["quick"]
        parts.append(
            f"## {title}\n\n`{COMMANDS[name]}`: {facts}.{warning}\n\n{rendered(section['rows'])}"
        )
    return "\n\n".join(parts) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURE, default=list(MEASURE), metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see it work")
    args = parser.parse_args(argv)
    print(write(args.only, args.out, args.quick))


if __name__ == "__main__":
    main()

"""Measure everything and write RESULTS.md, section by section. What is not measured this time
stands as it was measured before, each section beside its own machine, versions and date.

Run: python -m benchmarks.report [--only training matmul] [--quick]      (all of it: about an hour)
     python -m benchmarks.report --resume      (what a report that was killed did not come to)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import attention, curves, inference, machine, matmul, startup, tables, tokenizers
from benchmarks import training, translation
from benchmarks.peer import ROOT, environment
from tinygrad_llm.files import write_atomic

OUT = Path(__file__).parent
UNFINISHED = "unfinished.json"  # in results/: the names of the sections still to measure
COMMANDS = {
    "training": "python -m benchmarks.training --workloads char-cpu baby gpt2-124M baby-1024",
    "matmul": "python -m benchmarks.matmul",
    "attention": "python -m benchmarks.attention",
    "curves": "python -m benchmarks.curves",
    "tokenizers": "python -m benchmarks.tokenizers",
    "startup": "python -m benchmarks.startup",
    "inference": "python -m benchmarks.inference",
    "translation": "python -m benchmarks.translation",
    "ops": "pytest benchmarks",
}


def measure_training(quick: bool) -> Iterator[dict]:
    options = {"turns": 1, "seconds": 0.05} if quick else {}
    peers = training.chosen_peers(["pytorch"] if quick else None)
    for name in ["tiny"] if quick else [*training.DEFAULT_WORKLOADS, "baby-1024"]:
        yield from training.measure(name, peers, **options)


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


def measure_startup(quick: bool) -> Iterable[dict]:
    return startup.measure(tries=1, commands=["bench"]) if quick else startup.measure()


def measure_inference(quick: bool) -> Iterable[dict]:
    return inference.measure_all(turns=1 if quick else 5, quick=quick)


def measure_translation(quick: bool) -> Iterable[dict]:
    small = {"steps": 1, "turns": 1, "batch_tokens": 100, "vocab_size": 64, "d_model": 16}
    return translation.measure(**small if quick else {})


def measure_ops(quick: bool) -> Iterator[dict]:
    """Medians from pytest-benchmark: microseconds of each version of an operation."""
    some = ["-k", "gelu or add"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ops.json"
        command = [sys.executable, "-m", "pytest", "benchmarks", f"--benchmark-json={file}", *some]
        subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment()
        )
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
    "startup": measure_startup,
    "inference": measure_inference,
    "translation": measure_translation,
    "ops": measure_ops,
}


def write(names: Iterable[str], out: Path, quick: bool) -> Path:
    """Measure the named sections; each is kept in out/results and stands in out/RESULTS.md as soon
    as it is measured, with the machine that measured it. What is still to do is kept too.
    """
    results, todo = out / "results", list(names)
    results.mkdir(parents=True, exist_ok=True)
    path = out / "RESULTS.md"
    while todo:
        write_atomic(results / UNFINISHED, json.dumps(todo))
        print(f"measuring {todo[0]} ...", file=sys.stderr)
        section = {
            "machine": machine.describe(),
            "quick": quick,
            "rows": list(MEASURE[todo[0]](quick)),
        }
        write_atomic(results / f"{todo.pop(0)}.json", json.dumps(section, indent=1) + "\n")
        write_atomic(path, render(results))
    (results / UNFINISHED).unlink(missing_ok=True)
    return path


def missing(results: Path) -> list[str]:
    """The sections that the last report did not come to, and those that were never measured."""
    unfinished = results / UNFINISHED
    todo = json.loads(unfinished.read_text()) if unfinished.exists() else []
    return [name for name in MEASURE if name in todo or not (results / f"{name}.json").exists()]


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
    parser.add_argument(
        "--resume", action="store_true", help="measure only what a report left unfinished"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see it work")
    args = parser.parse_args(argv)
    names = missing(args.out / "results") if args.resume else list(MEASURE)
    print(write([name for name in names if name in args.only], args.out, args.quick))


if __name__ == "__main__":
    main()

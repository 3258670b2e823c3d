"""Our matrix product beside NumPy's OpenBLAS, in turns, on the shapes that the workloads use.

Run: python -m benchmarks.matmul [--json] [--threads 1 2] [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.turns import compare, phase, take_turns
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.matmul import linear
from tinygrad_llm.kernels.threads import get_num_threads, set_num_threads

# (M, K, N) of y (M, N) = x (M, K) W (N, K)^T, of char-cpu, baby and gpt2-124M
SHAPES = [
    *((768, k, n) for k, n in [(128, 384), (128, 128), (128, 512), (512, 128)]),
    *((2048, k, n) for k, n in [(384, 1152), (384, 384), (384, 1536), (1536, 384)]),
    *((256, k, n) for k, n in [(768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 50257)]),
]
QUICK = [(96, 128, 64), (37, 65, 101)]
FORMS = ("y = x W^T", "dx = dy W", "dW = dy^T x")
TOLERANCE = 1e-5  # of the largest number


def measure(threads=(1, 2), turns=7, seconds=0.15, shapes=SHAPES) -> Iterator[dict]:
    """A row for each shape, form and number of threads; then a summary for each number of threads.

    turns: phases of each contender; seconds: the length of one.
    """
    before = get_num_threads()
    try:
        for count in threads:
            set_num_threads(count)
            ratios = []
            for row in itertools.chain.from_iterable(_rows(s, turns, seconds) for s in shapes):
                ratios.append(row["ratio"])
                yield {"threads": count, **row}
            mean = statistics.geometric_mean(ratios)
            yield {"threads": count, "geometric_mean": mean, "minimum": min(ratios)}
    finally:
        set_num_threads(before)


def _rows(shape: tuple, turns: int, seconds: float) -> Iterator[dict]:
    m, k, n = shape
    for form, (ours, numpys) in zip(FORMS, products(shape), strict=True):
        check(ours(), numpys(), f"{form} at {shape}")
        contenders = {"ours": ours, "numpy": numpys}
        times = take_turns(
            {name: lambda work=work: phase(work, seconds) for name, work in contenders.items()},
            turns,
        )
        speeds = {name: 2e-9 * m * k * n / statistics.median(t) for name, t in times.items()}
        ratio = compare(times["numpy"], times["ours"])
        yield {
            "m": m,
            "k": k,
            "n": n,
            "form": form,
            "gflops": speeds["ours"],
            "numpy_gflops": speeds["numpy"],
            "ratio": ratio.median,
            "spread": [ratio.low, ratio.high],
        }


def products(shape: tuple) -> list[tuple[Callable, Callable]]:
    """(ours, NumPy's) for each of FORMS. Both write where they wrote before: no page is new."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    x, weight, dy = (rng.standard_normal(s, dtype=np.float32) for s in [(m, k), (n, k), (m, n)])
    backward = linear(x, weight, None)[1]
    y, dx, dweight = (np.empty(s, np.float32) for s in [(m, n), (m, k), (n, k)])
    return [
        (lambda: linear(x, weight, None)[0], lambda: np.matmul(x, weight.T, out=y)),
        (lambda: backward(dy, [True, False, False])[0], lambda: np.matmul(dy, weight, out=dx)),
        (lambda: backward(dy, [False, True, False])[1], lambda: np.matmul(dy.T, x, out=dweight)),
    ]


def check(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    """Raise unless two results are equal to float32's precision: a wrong product has no speed."""
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not error <= TOLERANCE:
        raise ArithmeticError(f"{what}: the results differ by {error:.1e} of the largest number")


def line(row: dict) -> str:
    """A row for people."""
    if "minimum" in row:
        return (
            f"{row['threads']} threads: geometric mean {row['geometric_mean']:.3f}, "
            f"minimum {row['minimum']:.3f}"
        )
    shape = f"({row['m']}, {row['k']}, {row['n']})"
    low, high = row["spread"]
    return (
        f"{row['threads']} threads  {shape:<20} {row['form']:<12} {row['gflops']:6.1f} GFLOP/s  "
        f"NumPy {row['numpy_gflops']:6.1f}  ratio {row['ratio']:.2f} ({low:.2f}-{high:.2f})"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matmul", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="(default: 7)")
    parser.add_argument("--quick", action="store_true", help="two small shapes, to see it work")
    args = parser.parse_args(argv)
    options = {"shapes": QUICK, "seconds": 0.01} if args.quick else {}
    try:
        for row in measure(args.threads, args.turns, **options):
            print(json.dumps(row) if args.json else line(row), flush=True)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

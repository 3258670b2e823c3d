"""The state of the installation: every fact that decides whether training here is right and
fast.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

PACKAGES = (
    "numpy",
    "numba",
    "llvmlite",
    "regex",
    "safetensors",
    "threadpoolctl",
    "tqdm",
    "matplotlib",
)


@dataclass
class Diagnosis:
    """facts: name -> value. problems: what to mend, each with its remedy."""

    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def examine() -> Diagnosis:
    """Look at packages, processor, threads, the kernel cache, and one product against NumPy's."""
    report = Diagnosis()
    report.facts["tinygrad_llm"] = _version("tinygrad-llm")
    report.facts["python"] = (
        f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    report.facts |= {name: _version(name) for name in PACKAGES}
    if report.facts["matplotlib"] == "missing":
        report.problems.append(
            "matplotlib is missing, so loss.png is not drawn; pip install matplotlib"
        )
    _threads(report)
    _cache(report)
    _product(report)
    return report


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _threads(report: Diagnosis) -> None:
    import threadpoolctl

    from tinygrad_llm.kernels.threads import get_num_threads, threading_layer

    report.facts["processors"] = str(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    report.facts["kernel threads"] = str(get_num_threads())
    blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    report.facts["blas"] = (
        ", ".join(f"{pool['internal_api']} with {pool['num_threads']} threads" for pool in blas)
        or "unknown"
    )
    layer = report.facts["threading layer"] = threading_layer()
    if layer == "workqueue":
        report.problems.append(
            "Numba runs on its slow workqueue layer; install libgomp (Debian: "
            "apt install libgomp1) or pip install tbb"
        )


def _cache(report: Diagnosis) -> None:
    from numba import config

    folder = Path(config.CACHE_DIR or Path(__file__).parents[1] / "kernels" / "__pycache__")
    report.facts["kernel cache"] = str(folder)
    try:
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        report.problems.append(
            f"kernels cannot be kept in {folder} ({error.strerror}), but in another folder or not "
            "at all; set NUMBA_CACHE_DIR to a folder of yours"
        )


def _product(report: Diagnosis) -> None:
    from tinygrad_llm.kernels.matmul import matmul

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((100, 100), dtype=np.float32) for _ in range(2))
    error = float(np.abs(matmul(a, b)[0] - a @ b).max())
    report.facts["matmul error"] = f"{error:.1e} beside NumPy"
    if not error < 1e-3:
        report.problems.append(
            "the compiled matrix product is wrong on this processor; use `with reference():`"
        )

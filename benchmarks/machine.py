"""What a figure depends on besides the code: processor, threads, versions, date; and how much
memory this process took.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("numpy", "numba", "llvmlite", "torch", "transformers", "jax", "tinygrad")


def describe() -> dict[str, str]:
    """name -> value, in the order to print."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{processor()}, {cores()} cores",
        "memory": f"{_field('/proc/meminfo', 'MemTotal') / 1e6:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's own name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown processor")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(package: str) -> str:
    """The installed version, or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def peak_memory() -> float:
    """The most megabytes that this process held at once; 0 where the system does not tell.

    From VmHWM: getrusage's figure would include what the parent held before this program began.
    """
    return _field("/proc/self/status", "VmHWM") / 1e3


def memory() -> float:
    """The megabytes that this process holds now."""
    return _field("/proc/self/status", "VmRSS") / 1e3


def forget_peak() -> None:
    """Let the peak begin again at what is held now, where Linux allows it."""
    Path("/proc/self/clear_refs").write_text("5")


def _field(path: str, name: str) -> int:
    """A line `name: number kB` of a file of the system, in kilobytes."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)

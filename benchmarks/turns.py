"""Taking turns: contenders run one after another in short phases, again and again, so that a
machine that drifts is as unfair to the one as to the other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable
from typing import NamedTuple

from tqdm import tqdm

from tinygrad_llm.recipes.bench import PAUSE


class Ratio(NamedTuple):
    """How often one goes into the other: the median over the turns, and the range."""

    median: float
    low: float
    high: float


def take_turns(contenders: dict[Hashable, Callable[[], float]], turns: int) -> dict:
    """Run every contender `turns` times; each call returns the seconds of one unit of work.

    The order of a turn is the last one's reversed.
    """
    seconds: dict[Hashable, list[float]] = {name: [] for name in contenders}
    total = turns * len(contenders)
    with tqdm(total=total, desc="turns", delay=2, leave=False, disable=None) as bar:
        for turn in range(turns):
            for name in list(contenders)[:: -1 if turn % 2 else 1]:
                time.sleep(PAUSE)
                seconds[name].append(contenders[name]())
                bar.update()
    return seconds


def phase(work: Callable[[], object], seconds: float) -> float:
    """Seconds of one call of `work`, repeated for at least so long after a call that wakes the
    threads.
    """
    work()
    start, calls = time.perf_counter(), 0
    while True:
        work()
        calls += 1
        if (elapsed := time.perf_counter() - start) >= seconds:
            return elapsed / calls


def compare(peer: list[float], ours: list[float]) -> Ratio:
    """The peer's seconds over ours, turn by turn: above 1 we are the faster one."""
    ratios = [p / o for p, o in zip(peer, ours, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))

"""Real kills of a real process: kill -9 at random times, SIGTERM and Ctrl-C; pytest --kills N for
more of them.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.test_pretrain import TINY, assert_same_run

PRETRAIN = [sys.executable, "-m", "tinygrad_llm", "pretrain"]


def command(text, folder, steps, *more):
    assignments = {**TINY, "steps": steps, "sample_every": 0, "save_every": 10, "eval_every": 20}
    settings = [f"--set={key}={value}" for key, value in assignments.items()]
    return [*PRETRAIN, "--data", str(text), "--out", str(folder), *settings, *more]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 200)
    return path


class Whole(NamedTuple):
    """A run that nothing disturbed, and how long it took."""

    folder: Path
    seconds: float


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    folder, start = tmp_path_factory.mktemp("whole") / "run", time.monotonic()
    subprocess.run(command(text, folder, 200), check=True, capture_output=True)
    return Whole(folder, time.monotonic() - start)


def test_killed_at_random_times_it_still_becomes_the_same_run(text, whole, tmp_path, pytestconfig):
    """Each kill hits a run of its own, at any time from the first import to the last step."""
    rng = random.Random(1)
    for i in range(pytestconfig.getoption("--kills")):
        folder = tmp_path / str(i)
        process = subprocess.Popen(
            command(text, folder, 200), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0, whole.seconds))
        process.kill()
        process.wait()
        subprocess.run(command(text, folder, 200, "--resume"), check=True, capture_output=True)
        assert_same_run(whole.folder, folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(text, tmp_path, number):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(text, folder, 100_000), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    log = folder / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size > 2000):
        time.sleep(0.05)
    process.send_signal(number)
    start = time.monotonic()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "--resume goes on from here" in out
    assert time.monotonic() - start < 30  # five seconds on an idle machine; a crowded one is slower
    assert (folder / "checkpoint.safetensors").exists() and (folder / "model.safetensors").exists()

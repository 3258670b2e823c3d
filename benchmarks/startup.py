"""How long somebody who has just typed a command waits: until its first message, and until the
first training step is done; with an empty kernel cache (cold) and a filled one (warm).

Run: python -m benchmarks.startup [--json] [--tries 3] [--commands pretrain generate]

Seconds from the start of the process, on a terminal of its own, as one sees them there. A command
is stopped as soon as it has shown what is waited for.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pty
import re
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from benchmarks.peer import ROOT

# Typed behind `tinygrad-llm`. {model}: a folder with a trained char-cpu; {new}: an empty one.
COMMANDS = {
    "pretrain": "pretrain --preset char-cpu --out {new}/run",
    "generate": "generate {model} --prompt The",
    "evaluate": "evaluate {model} --data {folder}/text.txt",
    "profile": "profile --preset char-cpu",
    "bench": "bench matmul",
}
MESSAGE, STEP = re.compile(rb"\S"), re.compile(rb"training:[^\r\n]* [1-9]\d*/\d+")


def measure(tries: int = 3, commands=tuple(COMMANDS)) -> Iterator[dict]:
    """A row for each command and state of the cache: the median seconds until each event."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text.txt").write_text("The import statement finds a module. " * 200)
        warm, model = folder / "warm", folder / "model"
        cases = tqdm([*itertools.product(commands, ("cold", "warm"))], leave=False, disable=None)
        run(f"pretrain --preset char-cpu --steps 1 --out {model}", warm)
        for command, state in cases:
            paths = {"model": model, "folder": folder}
            if state == "warm" and command != "pretrain":  # which filled its part of the cache
                run(COMMANDS[command].format(**paths), warm)
            waits = []
            for _ in range(tries):
                new = Path(tempfile.mkdtemp(dir=folder))
                typed = COMMANDS[command].format(**paths, new=new)
                waits.append(wait(typed, warm if state == "warm" else new / "cache", command))
            yield {"command": command, "cache": state, "tries": tries} | {
                event: statistics.median(found[event] for found in waits) for event in waits[0]
            }


def environment(cache: Path) -> dict[str, str]:
    """The variables of a process whose kernels are kept in `cache`; tqdm draws every step."""
    return os.environ | {"NUMBA_CACHE_DIR": str(cache), "TQDM_MININTERVAL": "0"}


def words(line: str) -> list[str]:
    return [sys.executable, "-m", "tinygrad_llm", *line.split()]


def run(line: str, cache: Path) -> None:
    """Run a command to its end, in silence."""
    subprocess.run(
        words(line),
        env=environment(cache),
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait(line: str, cache: Path, command: str) -> dict[str, float]:
    """The seconds until the command's first message, and for pretrain until its first step."""
    events = {"message_s": MESSAGE} | ({"step_s": STEP} if command == "pretrain" else {})
    cache.mkdir(exist_ok=True)
    start = time.perf_counter()
    process, screen = on_a_terminal(line, cache)
    try:
        return watch(screen, events, start)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def on_a_terminal(line: str, cache: Path) -> tuple[subprocess.Popen, int]:
    """The started command, and where its terminal's text can be read."""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen(
        words(line),
        env=environment(cache),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    return process, screen


def watch(screen: int, events: dict[str, re.Pattern], start: float) -> dict[str, float]:
    """The seconds since `start` at which each pattern first stood in the text.

    Raises RuntimeError with the text where it ends before that.
    """
    seen, found = b"", {}
    while len(found) < len(events):
        try:
            text = os.read(screen, 65536)
        except OSError:  # Linux: nobody writes any more
            text = b""
        if not text:
            raise RuntimeError(f"the command ended before {events.keys() - found}: {seen.decode()}")
        seen += text
        for event, pattern in events.items():
            if event not in found and pattern.search(seen):
                found[event] = time.perf_counter() - start
    return found


def line(row: dict) -> str:
    """A row for people."""
    step = f"   first training step {row['step_s']:6.2f} s" if "step_s" in row else ""
    return f"{row['command']:<10} {row['cache']:<5} first message {row['message_s']:6.2f} s{step}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument(
        "--commands",
        nargs="+",
        choices=COMMANDS,
        default=list(COMMANDS),
        metavar="NAME",
        help=f"of {', '.join(COMMANDS)} (default: all)",
    )
    args = parser.parse_args(argv)
    for row in measure(args.tries, args.commands):
        print(json.dumps(row) if args.json else line(row), flush=True)


if __name__ == "__main__":
    main()

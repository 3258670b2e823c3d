"""What "large" costs (PROOFS row 23): the forecast of memory and time, checked against the run
itself.

Run: python examples/09_cost.py [presets, such as char-cpu baby gpt2]
"""

import multiprocessing
import sys
import time

import numpy as np

from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.recipes.forecast import forecast, most_memory
from tinygrad_llm.recipes.settings import preset
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW

LIMIT = 0.15
CASES = {
    "char-cpu": (20, {}),
    "baby": (5, {"vocab_size": 65, "dropout": 0.0}),
    "gpt2": (3, {"n_positions": 64, "batch_size": 4}),
}  # llm.c's CPU setting


def train(settings, steps, queue):
    """Real steps in this process: (seconds a step, bytes at the peak)."""
    rng = np.random.default_rng(0)
    model = GPT(settings.model, rng=rng)
    optimizer, times = AdamW(model.parameters(), settings.adamw), []
    for _ in range(steps + 2):
        ids = rng.integers(
            settings.model.vocab_size,
            size=(settings.loop.batch_size, settings.model.n_positions + 1),
        )
        start = time.perf_counter()
        train_step(
            model, next_token, optimizer, [(ids[:, :-1], ids[:, 1:])], lr=1e-4, clip=1.0, rng=rng
        )
        times.append(time.perf_counter() - start)
    queue.put((float(np.median(times[2:])), most_memory()))


def main(names=tuple(CASES), limit=LIMIT):
    spawn, good = multiprocessing.get_context("spawn"), True
    for name in names:
        steps, overrides = CASES[name]
        settings = preset(name).updated({"steps": steps, **overrides})
        expected, queue = forecast(settings), spawn.Queue()
        process = spawn.Process(target=train, args=(settings, steps, queue))
        process.start()
        seconds, memory = queue.get()
        process.join()
        errors = [expected.memory / memory - 1, expected.step_seconds / seconds - 1]
        print(
            f"{name}: {expected.parameters:,} parameters, "
            f"{expected.flops_per_token / 1e6:,.1f} MFLOP a token\n"
            f"  memory forecast {expected.memory / 1e6:,.0f} MB, "
            f"measured {memory / 1e6:,.0f} ({errors[0]:+.0%})\n"
            f"  a step forecast {expected.step_seconds * 1e3:,.1f} ms, "
            f"measured {seconds * 1e3:,.1f} ({errors[1]:+.0%})"
        )
        good = good and max(map(abs, errors)) <= limit
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or tuple(CASES)))

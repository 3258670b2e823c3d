"""Threads: as many as were asked for, and models that train at once train as if alone.

What could crash or hang runs in a process of its own, with a time limit. The threading layer is
Numba's choice among those of the machine (omp, tbb, workqueue), and each has its own way to fail.
"""

import faulthandler
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tinygrad_llm.cli.main import main
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.gemm import gemm
from tinygrad_llm.kernels.threads import get_num_threads, set_num_threads, threading_layer
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW

SECONDS = 120  # after which a process hangs
TRAINERS = 4
POOLS = {"omp": "omppool", "tbb": "tbbpool", "workqueue": "workqueue"}
ROOT = Path(__file__).parents[1]
CORES = get_num_threads()  # that this process may use


def losses(seed, steps=8):
    """Of a GPT that is large enough for its kernels to run on all threads."""
    rng = np.random.default_rng(seed)
    config = GPTConfig(vocab_size=300, n_positions=64, n_layer=2, n_head=4, n_embd=64, dropout=0.1)
    model, ids = GPT(config, rng=rng), rng.integers(300, size=(steps, 2, 8, 65))
    optimizer, found = AdamW(model.parameters()), []
    model.train()
    for parts in ids:
        parts = [(part[:, :-1], part[:, 1:]) for part in parts]
        loss, _, _ = train_step(model, next_token, optimizer, parts, lr=1e-3, clip=1.0, rng=rng)
        found.append(loss)
    return found


def in_a_new_process(call, **environment):
    """What a function of this file returns there."""
    code = f"import json; from tests import {Path(__file__).stem} as t; print(json.dumps(t.{call}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS + 30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def within_limit(work, *arguments):
    """Its result; a process that takes too long says where it stands, and ends."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        return work(*arguments)
    finally:
        faulthandler.cancel_dump_traceback_later()


def train_together():
    """The layer, the losses of models that train at once, and of each alone.

    They start together in a process that has loaded no kernel.
    """
    start = threading.Barrier(TRAINERS)

    def train(seed):
        start.wait()
        return losses(seed)

    with ThreadPoolExecutor(TRAINERS) as pool:
        together = list(pool.map(train, range(TRAINERS)))
    return threading_layer(), together, [losses(seed) for seed in range(TRAINERS)]


def train_in_spawned_processes():
    """The losses here, and of two processes spawned when this one has threads and locks."""
    here = losses(0)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        spawned = [pool.apply_async(within_limit, (losses, 0)) for _ in range(2)]
        return here, [result.get(SECONDS) for result in spawned]


@pytest.mark.parametrize("layer", POOLS)
def test_python_threads_that_train_at_once(layer):
    pytest.importorskip(f"numba.np.ufunc.{POOLS[layer]}", exc_type=ImportError)
    used, together, alone = in_a_new_process(
        "within_limit(t.train_together)", NUMBA_THREADING_LAYER=layer
    )
    assert used == layer
    assert together == alone and len({row[-1] for row in alone}) == TRAINERS


def test_spawned_processes_train():
    here, spawned = in_a_new_process("within_limit(t.train_in_spawned_processes)")
    assert spawned == [here, here]


def at_work(work, seconds=0.5):
    """How many threads work: the CPU time of all over that of the one that asks for the work."""
    time.sleep(0.3)  # OpenBLAS's threads spin for 0.12 s before they sleep
    every, own, end = time.process_time(), time.thread_time(), time.perf_counter() + seconds
    work()
    while time.perf_counter() < end:
        work()
    return (time.process_time() - every) / (time.thread_time() - own)


def at_work_with(*counts):
    """For each number of threads: those of BLAS by its own account, and how many work.

    They are set in one Python thread and used in another.
    """
    a = np.ones((1000, 1000), np.float32)
    works = {"blas": lambda: a @ a, "gemm": lambda: gemm(a, a), "train": lambda: losses(0, 2)}
    found = []
    for n in counts:
        set_num_threads(n)
        pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        with ThreadPoolExecutor(1) as other:
            shares = {name: other.submit(at_work, work).result() for name, work in works.items()}
        found.append({"kernels": get_num_threads(), "pools": pools, **shares})
    return found


def assert_one(found):
    assert found["kernels"] == 1 and set(found["pools"]) == {1}
    assert max(found["blas"], found["gemm"], found["train"]) < 1.1


def test_the_number_means_what_it_says_and_may_change():
    one, *more = in_a_new_process(f"at_work_with{(1, 2, 1) if CORES > 1 else '(1)'}")
    assert_one(one)
    if more:
        two, again = more
        assert two["kernels"] == 2 and set(two["pools"]) == {2}
        assert min(two["blas"], two["gemm"]) > 1.5 and two["train"] > 1.2
        assert_one(again)


def command_at_work(*arguments):
    return at_work(lambda: main(list(arguments)), 0)


def test_the_flag_of_the_command_line():
    command = "bench", "matmul", "--shape", "900", "900", "900", "--threads"
    assert in_a_new_process(f"command_at_work{(*command, '1')}") < 1.1
    if CORES > 1:
        assert in_a_new_process(f"command_at_work{(*command, '2')}") > 1.2


@pytest.mark.parametrize("n", [0, -1, 100_000])
def test_numbers_that_cannot_be(n):
    before = get_num_threads()
    with pytest.raises(InputError, match=f"threads must be from 1 to .*got {n}"):
        set_num_threads(n)
    assert get_num_threads() == before

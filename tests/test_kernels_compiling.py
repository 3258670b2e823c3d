"""A cache that is damaged, full or read-only slows the start and stops nothing."""

import errno
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import int64, njit
from numba.core import caching

from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.kernels import compiling
from tinygrad_llm.kernels.compiling import compile_cached
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text.byte_level import ByteTokenizer

ROOT = str(Path(__file__).parents[1])


def twice(x):
    return x + x


def compiled():
    return compile_cached(twice, partial(njit, int64(int64)))


@pytest.fixture(autouse=True)
def untold():
    compiling._tell_nothing_is_kept.cache_clear()
    compiling._tell_kept_elsewhere.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache that holds `twice`."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compiled()(21) == 42
    assert len(list(tmp_path.rglob("*.nb?"))) == 2  # the index and one entry
    return tmp_path


def test_an_entry_is_loaded(cache):
    again = compiled()
    assert again(21) == 42 and sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"], ids=["index", "entry"])
@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[:20], lambda b: b[:-9], lambda b: b"\xff" * len(b)],
    ids=["empty", "start", "cut", "scrambled"],
)
def test_a_damaged_entry_is_compiled_again(cache, suffix, damage):
    (file,) = cache.rglob(f"*{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(RuntimeWarning, match="twice.*compiling again"):
        assert compiled()(21) == 42
    assert sum(compiled().stats.cache_hits.values()) == 1  # mended, and no warning any more


def test_a_missing_entry_is_compiled_again(cache):
    next(cache.rglob("*.nbc")).unlink()
    assert compiled()(21) == 42


def test_no_folder_that_can_be_written(monkeypatch):
    def deny(self):
        raise PermissionError(errno.EACCES, "Permission denied")  # root may write anywhere

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", deny)
    with pytest.warns(RuntimeWarning, match="set NUMBA_CACHE_DIR"):
        assert compiled()(21) == 42


def test_another_folder_than_the_named_one_is_told_once(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    other = str(tmp_path / "other")
    monkeypatch.setattr(caching.InTreeCacheLocator, "get_cache_path", lambda self: other)
    with pytest.warns(RuntimeWarning, match="file/cache cannot be .* kept in .*other") as told:
        assert compiled()(21) == compiled()(21) == 42
    assert len(told) == 1 and len(list(Path(other).glob("*.nb?"))) == 2


def test_a_full_disk(tmp_path, monkeypatch):
    def full(self, name, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full)
    with pytest.warns(RuntimeWarning, match="set NUMBA_CACHE_DIR"):
        assert compiled()(21) == 42


def test_a_mistake_in_a_kernel_is_still_an_error(cache):
    def wrong(x):
        return x + "1"

    with pytest.warns(RuntimeWarning), pytest.raises(numba.TypingError):
        compile_cached(wrong, partial(njit, int64(int64)))


COMMANDS = [
    "pretrain --data text.txt --out run --steps 1 --set tokenizer=bytes --set n_layer=1",
    "generate model --prompt fox --max-new-tokens 2",
    "evaluate model --data text.txt",
    "explain model --prompt fox",
    "estimate --set n_layer=1",
    "profile --steps 1 --set n_layer=1",
    "bench matmul --shape 64 64 64",
    "doctor",
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
def test_whoever_waits_for_the_compiler_is_told_before(command, tmp_path):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    config = GPTConfig(vocab_size=256, n_positions=16, n_layer=1, n_head=1, n_embd=8)
    save_model(tmp_path / "model", GPT(config, rng=np.random.default_rng(0)))
    ByteTokenizer().save(tmp_path / "model")
    process = subprocess.Popen(
        [sys.executable, "-m", "tinygrad_llm", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": ROOT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("compiling kernels" in line for line in process.stderr)
        assert not compiled_files(tmp_path)
        while process.poll() is None and not compiled_files(tmp_path):
            time.sleep(0.1)
        assert process.poll() is None  # it compiles, and had said so
    finally:
        process.kill()
        process.communicate()


def test_with_a_full_cache_nobody_is_told():
    command = [sys.executable, "-m", "tinygrad_llm", "bench", "matmul", "--shape", "64", "64", "64"]
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, check=True) for _ in range(2)]
    assert runs[1].stderr == b""  # the first one may have compiled


def compiled_files(folder):
    return list(folder.rglob("*.nbc"))

"""Small versions of the examples: each one runs, prints its figure, and stays under 60 lines of
code.
"""

import importlib.util
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "examples"
FILES = sorted(ROOT.glob("[0-9]*.py"))


def load(number):
    path = next(ROOT.glob(f"{number:02d}_*.py"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_under_sixty_lines(path):
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = {t.start[0] for t in tokens if t.type not in skipped}
    assert len(lines) <= 60


def test_backprop_by_hand(capsys):
    assert load(1).main()
    assert "without order says 8.0" in capsys.readouterr().out


def test_first_network():
    assert load(2).main(steps=600)


def test_next_word(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 100)
    assert load(3).main(text, steps=60, mark=2.9, with_torch=False)
    assert not load(3).main(text, steps=2, mark=0.1, with_torch=False)


def test_attention(tmp_path):
    assert load(4).main(out=tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_text().startswith("<svg")


def test_bits_per_byte():
    tiny = {
        "n_layer": 1,
        "n_embd": 16,
        "n_head": 2,
        "n_positions": 16,
        "vocab_size": 300,
        "steps": 3,
        "eval_every": 3,
        "batch_size": 2,
    }
    assert not load(5).main(seeds=(1,), **tiny)  # three steps beat no trigram


def run(number, *arguments):
    """An example as its own process, as those need that start processes themselves: (code,
    output).
    """
    path = next(ROOT.glob(f"{number:02d}_*.py"))
    done = subprocess.run([sys.executable, path, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout


def test_large_corpus():
    code, out = run(6, "4")
    assert code == 0 and "growth" in out


def test_completion():
    assert load(7).main(count=64)


def test_gpt_sizes(capsys):
    module = load(8)
    assert module.main(module.TINY)
    assert "124,439,808" in capsys.readouterr().out


def test_cost():
    code, out = run(9, "char-cpu")
    assert code in (0, 1)  # 1: the time was not as forecast, which a busy machine makes so
    assert "804,096 parameters" in out and "a step forecast" in out

"""Random texts of every script, and the corpora beside the project, for tests of tokenizers."""

from __future__ import annotations

import random
import sys
import unicodedata
from functools import cache
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_WHITE = " \t\n\r\v\f\u0085\u00a0\u2003\u2028\u3000"
_CONTROL = "\0\x01\x1b\x1c\x1f\x7f\u200b\u200d\u202e\ufeff"
_FRAGMENTS = [
    "'s",
    "'ll",
    "'LL",
    "don't",
    "1234567",
    "\r\n",
    "\n\n",
    "  ",
    "e\u0301",
    "👩‍👩‍👧",
    "🇩🇪",
    "==",
    "。\n",
]


@cache
def _assigned() -> str:
    """Every character that this Python knows, surrogates and private use apart."""
    return "".join(c for c in _all() if unicodedata.category(c) not in ("Cn", "Co"))


@cache
def _all() -> str:
    """Every code point but the surrogates: what no Unicode has assigned yet, too."""
    return "".join(chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000)


def random_texts(count: int, seed: int, length: int = 40) -> list[str]:
    """Texts that mix ASCII, one script, any character of this Python's Unicode, any code point at
    all, white space, control characters, emoji.
    """
    rng, every = random.Random(seed), _assigned()

    def part(block: int) -> str:
        kind = rng.randrange(7)
        if kind == 0:
            return rng.choice(_FRAGMENTS)
        if kind == 1:
            return rng.choice(_WHITE) * rng.randrange(1, 4)
        script = every[block : block + 60]
        letters = ["abcdeABC019.,'!", script, every, _all(), _CONTROL][kind - 2]
        return "".join(rng.choices(letters, k=rng.randrange(1, 6)))

    return [
        "".join(part(rng.randrange(len(every) - 60)) for _ in range(rng.randrange(length)))
        for _ in range(count)
    ]


def shared_text(name: str) -> str:
    """The text file `name` of ../shared/data, line ends as they are; skips the test without it."""
    path = shared_file(name)
    return path.read_bytes().decode()


def shared_file(name: str) -> Path:
    """The path of `name` in ../shared/data; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/data")
    return path

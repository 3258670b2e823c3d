"""The room as a whole: its doctests, what it exports, and that a corpus in chunks keeps its ids."""

import doctest
import importlib
import io
import pkgutil
import subprocess
import sys
from itertools import chain

import pytest

from tests.random_texts import shared_text
from tinygrad_llm import text as room
from tinygrad_llm.text import BPETokenizer, ByteTokenizer, CharTokenizer, chunks

MODULES = [f"tinygrad_llm.text.{module.name}" for module in pkgutil.iter_modules(room.__path__)]
WITHOUT_EXAMPLES = {"compiled", "contents", "json_parts"}
WITHOUT_EXAMPLES |= {"gpt2_files", "tiktoken_files", "tokenizer_json", "wordpiece_json"}
WITHOUT_EXAMPLES |= {"unicode_ranges"}


@pytest.mark.parametrize("name", MODULES)
def test_worked_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0 or name.rpartition(".")[2] in WITHOUT_EXAMPLES


@pytest.mark.parametrize("size", [1000, 30_000])
def test_a_corpus_in_chunks_has_the_ids_of_the_whole(size):
    corpus = shared_text("tinyshakespeare.txt")[:200_000]
    tokenizers = [
        BPETokenizer.train(chunks(io.StringIO(corpus), size), 600, pattern=pattern)
        for pattern in ("gpt2", "llama3")
    ]
    assert tokenizers[0].fingerprint() == BPETokenizer.train([corpus], 600).fingerprint()
    for tokenizer in [*tokenizers, ByteTokenizer(), CharTokenizer.train([corpus])]:
        in_chunks = tokenizer.encode_batch(chunks(io.StringIO(corpus), size))
        assert len(in_chunks) > 4
        assert list(chain.from_iterable(in_chunks)) == tokenizer.encode(corpus)


def test_the_room_loads_without_numba_and_regex():
    code = "import sys, tinygrad_llm.text; print({'numba', 'regex'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"

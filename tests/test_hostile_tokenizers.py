"""Mutated tokenizer files give an InputError or a tokenizer that works: quickly, in little memory.

python -m pytest tests/test_hostile_tokenizers.py --mutations 10000
"""

import json
import random
import resource
import time

import pytest

from tests.test_tiktoken_files import write
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer, WordPieceTokenizer, load_tokenizer
from tinygrad_llm.text.contents import Contents, WordPieceSettings

TEXT = "low lower lowest naïve\n"
EVIL = ["\ud800", "", "a" * 10_000, -1, 10**30, 1e308, None, True, [], {}, [[]], "(a+)+$", 0.5]
MEMORY = 200 << 20


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Text of each kind of file: a name, and what to do with such a file."""
    folder = tmp_path_factory.mktemp("files")
    tokenizer = BPETokenizer.train([TEXT * 3], 270, special_tokens=["<|endoftext|>"])
    tokenizer.save(folder / "bpe.json")
    vocabulary = {name.encode(): i for i, name in enumerate(["[UNK]x", "low", "##er", "a"])}
    special = {name: 4 + i for i, name in enumerate(["[UNK]", "[CLS]", "[SEP]"])}
    contents = Contents("wordpiece", vocabulary, special, wordpiece=WordPieceSettings())
    WordPieceTokenizer(contents).save(folder / "wordpiece.json")
    write(folder / "ranks", dict(tokenizer.contents.vocabulary))
    model = json.loads((folder / "bpe.json").read_text())["model"]
    encoder = folder / "encoder.json"
    encoder.write_text(json.dumps(model["vocab"]))
    merges = folder / "vocab.bpe"
    merges.write_text("#version: 0.2\n" + "\n".join(map(" ".join, model["merges"])) + "\n")
    return {
        "bpe.json": (folder / "bpe.json", load_tokenizer),
        "wordpiece.json": (folder / "wordpiece.json", load_tokenizer),
        "ranks": (folder / "ranks", lambda path: BPETokenizer.from_tiktoken(path, "gpt2")),
        "vocab.bpe": (merges, lambda path: BPETokenizer.from_gpt2(encoder, path)),
    }


def mutated(content, rng):
    """The bytes of a file with a few places changed, cut, repeated or moved."""
    content = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        b = min(b, a + rng.choice([1, 4, 40, 4000]))
        action = rng.randrange(5)
        if action == 0:
            content[a:b] = rng.randbytes(b - a)
        elif action == 1:
            del content[a:b]
        elif action == 2:
            content[a:a] = content[a:b] * rng.randrange(1, 20)
        elif action == 3:
            content[a:b] = rng.choice([b"[" * 500, b'"', b"{", b"9" * 40, b"\xff", b"null", b"\n"])
        elif content:
            content[a % len(content)] ^= 1 << rng.randrange(8)
        content = content or bytearray(b" ")
    return bytes(content)


def changed(document, rng):
    """A JSON document with one value, anywhere, replaced by an evil one."""
    part, places = document, []
    while isinstance(part, (dict, list)) and part:
        key = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        places.append((part, key))
        part = part[key]
    part, key = rng.choice(places)
    part[key] = rng.choice(EVIL)
    return document


@pytest.mark.parametrize("name", ["bpe.json", "wordpiece.json", "ranks", "vocab.bpe"])
def test_mutations(documents, tmp_path, name, request):
    path, load = documents[name]
    rng, content, target = random.Random(7), path.read_bytes(), tmp_path / path.name
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    working = 0
    for i in range(request.config.getoption("--mutations")):
        if name.endswith("json") and i % 2:
            target.write_text(json.dumps(changed(json.loads(content), rng)))
        else:
            target.write_bytes(mutated(content, rng))
        start = time.perf_counter()
        try:
            tokenizer = load(target)
            if name != "wordpiece.json":
                assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
            working += 1
        except InputError as error:
            assert len(str(error)) < 500
        taken = time.perf_counter() - start
        assert taken < 20, f"{taken:.1f} s"  # a hang, not a slow machine: the mark is 2 s
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY / 1024
    assert working > 0 or name == "ranks"  # of which no part can change and still be right

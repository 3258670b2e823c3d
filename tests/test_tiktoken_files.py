"""tiktoken's rank files: the ids of tiktoken, and an error that names the line."""

import base64

import pytest

from tests.random_texts import random_texts
from tinygrad_llm import reference
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.patterns import PATTERNS
from tinygrad_llm.text.streams import well_formed

TEXT = "aaaa aaaaa aaab it was the best of times, it was the worst of times 1999 naïve 語\n"


def write(path, ranks):
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def ranks():
    return dict(BPETokenizer.train([TEXT * 3], 330, pattern="cl100k").contents.vocabulary)


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k"])
def test_ids_are_those_of_tiktoken(tmp_path, ranks, pattern):
    tiktoken = pytest.importorskip("tiktoken", reason="pip install tiktoken")
    special = {"<|endoftext|>": len(ranks)}
    ours = BPETokenizer.from_tiktoken(write(tmp_path / "ranks", ranks), pattern, special)
    theirs = tiktoken.Encoding(
        "ours", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens=special
    )
    texts = [*map(well_formed, random_texts(10_000, seed=5)), TEXT * 20, "a" * 500, "<|endoftext|>"]
    for text in texts:
        assert ours.encode(text) == theirs.encode_ordinary(text), repr(text)
    with reference():
        assert ours.encode_batch(texts) == theirs.encode_ordinary_batch(texts)


def test_all_ways_to_make_a_token_have_one_rank(tmp_path):
    """[aa][a][aa], where (aa, a) and (a, aa) both make aaa: the one on the left comes first."""
    ranks = {bytes([i]): i for i in range(256)} | {b"aa": 256, b"aaa": 257}
    ours = BPETokenizer.from_tiktoken(write(tmp_path / "ranks", ranks), "gpt2")
    assert ours.contents.merges[1:] == [(97, 256), (256, 97)]
    assert ours._ranks[97, 256] == ours._ranks[256, 97]
    assert ours.encode("aaaaa") == [256, 257]
    ours.save(tmp_path)
    assert BPETokenizer.from_file(tmp_path).fingerprint() == ours.fingerprint()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("YWI", "line 257: b'YWI' is not a token in base64"),
        ("Y*I= 256", "line 257"),
        ("YWI= -1", "line 257"),
        ("YWI= 1e3", "line 257"),
        ("YQ== 256", "line 257: the token b'a' stands there twice"),
        ("YWI= 300", "257 tokens need the ids 0 to 256"),
        ("YWI= 7", "id 7 belongs to both"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, line, message):
    path = write(tmp_path / "ranks", {bytes([i]): i for i in range(256)})
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InputError) as error:
        BPETokenizer.from_tiktoken(path, "gpt2")
    assert message in str(error.value) and str(path) in str(error.value)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        BPETokenizer.from_tiktoken(tmp_path / "none", "gpt2")

"""BPETokenizer: ids by hand, by the slow definition, and those of tiktoken and of tokenizers."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_texts import random_texts, shared_file, shared_text
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.bpe import merge
from tinygrad_llm.text.bpe_training import BYTE_ID
from tinygrad_llm.text.patterns import PATTERNS
from tinygrad_llm.text.streams import well_formed

CORPUS = ["It was the best of times, it was the worst of times; naïve Füße, 語 語 😀😀 1999 2000\n"]
SMALL = BPETokenizer.train(CORPUS * 3, 300, special_tokens=["<|endoftext|>", "a b"])


@pytest.fixture(scope="module")
def gpt2():
    return BPETokenizer.from_gpt2(shared_file("gpt2/encoder.json"), shared_file("gpt2/vocab.bpe"))


@pytest.fixture(scope="module")
def their_gpt2(gpt2):
    """tiktoken's encoding of GPT-2, its ranks made from the same two files."""
    tiktoken = pytest.importorskip("tiktoken", reason="pip install tiktoken")
    return tiktoken.Encoding(
        "gpt2",
        pat_str=PATTERNS["gpt2"],
        mergeable_ranks=dict(gpt2.contents.vocabulary),
        special_tokens=gpt2.special_tokens,
    )


def merge_slowly(ids, ranks, made):
    """The definition: the pair of the lowest rank, from the left, until there is none."""
    ids = list(ids)
    while True:
        found = [(ranks[pair], i) for i, pair in enumerate(zip(ids, ids[1:])) if pair in ranks]
        if not found:
            return ids
        rank, i = min(found)
        ids[i : i + 2] = [made[rank]]


def test_gpt2_by_hand(gpt2):
    """The ids of "Hello world" that GPT-2's users know: ' world' with its space is one token."""
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.token_bytes(995) == b" world"
    assert gpt2.vocab_size == 50257
    assert gpt2.special_tokens == {"<|endoftext|>": 50256}


def test_merge_equals_the_definition():
    rng = random.Random(5)
    for _ in range(500):
        pairs = [(rng.randrange(8), rng.randrange(8)) for _ in range(12)]
        ranks = {pair: rank for rank, pair in enumerate(dict.fromkeys(pairs))}
        made = [rng.randrange(12) for _ in ranks]
        ids = rng.choices(range(8), k=rng.randrange(30))
        assert merge(ids, ranks, made) == merge_slowly(ids, ranks, made)


def test_ids_equal_tiktoken(gpt2, their_gpt2):
    texts = random_texts(10_000, seed=6) + ["a\ud800b", "\ud83d\ude00", "\udc00\ud800"]
    for text in texts:
        assert gpt2.encode(text) == their_gpt2.encode_ordinary(text), text
    text = shared_text("tinyshakespeare.txt")
    assert gpt2.encode(text) == their_gpt2.encode_ordinary(text)


def test_ids_equal_tokenizers(gpt2, tmp_path):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    gpt2.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = [*map(well_formed, random_texts(10_000, seed=6)), shared_text("tinyshakespeare.txt")]
    for text, found in zip(texts, theirs.encode_batch(texts), strict=True):
        assert gpt2.encode(text) == found.ids, text


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ids_of_a_trained_vocabulary_equal_tiktoken(pattern):
    tiktoken = pytest.importorskip("tiktoken", reason="pip install tiktoken")
    text = shared_text("tinyshakespeare.txt")[:200_000]
    ours = BPETokenizer.train([text], 700, pattern=pattern)
    theirs = tiktoken.Encoding(
        "ours",
        pat_str=PATTERNS[pattern],
        special_tokens={},
        mergeable_ranks=dict(ours.contents.vocabulary),
    )
    for sample in [text, *random_texts(500, seed=7)]:
        assert ours.encode(sample) == theirs.encode_ordinary(sample)


def test_special_tokens_only_when_allowed(gpt2, their_gpt2):
    text = "one<|endoftext|>two <|endoftext|>"
    assert 50256 not in gpt2.encode(text)
    assert gpt2.decode(gpt2.encode(text)) == text
    for allowed in ("all", {"<|endoftext|>"}):
        assert gpt2.encode(text, allowed) == their_gpt2.encode(text, allowed_special=allowed)
    assert gpt2.encode(text, "all").count(50256) == 2


@given(st.text())
@settings(max_examples=10_000, deadline=None, database=None)
def test_round_trip_of_text(text):
    assert SMALL.decode(SMALL.encode(text)) == text
    assert SMALL.decode(SMALL.encode(text, allowed_special="all")) == text


@given(st.binary())
@settings(max_examples=10_000, deadline=None, database=None)
def test_round_trip_of_bytes(data):
    """What is no UTF-8 comes back too: its bytes are tokens."""
    assert SMALL.decode_bytes([BYTE_ID[byte] for byte in data]) == data
    text = data.decode(errors="replace")
    assert SMALL.decode_bytes(SMALL.encode(text)) == text.encode()


def test_every_id_round_trips():
    for index in range(SMALL.vocab_size):
        assert SMALL.decode_bytes([index]) == SMALL.token_bytes(index)
    assert len({SMALL.token_bytes(index) for index in range(SMALL.vocab_size)}) == SMALL.vocab_size


def test_vocabulary_is_bytes_then_merges_then_special_tokens():
    assert SMALL.vocab_size == 300
    assert SMALL.special_tokens == {"<|endoftext|>": 298, "a b": 299}
    assert SMALL.token_bytes(299) == b"a b"
    assert SMALL.encode("a b", {"a b"}) == [299]


def test_the_cache_forgets_but_stays_right(monkeypatch):
    monkeypatch.setattr("tinygrad_llm.text.bpe._MAX_CACHED_PIECES", 3)
    tokenizer = BPETokenizer(SMALL.contents)
    for _ in range(2):
        assert tokenizer.encode(CORPUS[0]) == SMALL.encode(CORPUS[0])
    assert len(tokenizer._cache) <= 3


@pytest.mark.parametrize("part", ["a", "ab", "=", "語"])
def test_a_long_piece_is_not_quadratic(part):
    """A quadratic merge takes minutes for these 40,000 parts."""
    tokenizer = BPETokenizer.train([part * 64], 260)
    start = time.perf_counter()
    ids = tokenizer.encode(part * 40_000)
    assert time.perf_counter() - start < 10
    assert tokenizer.decode(ids) == part * 40_000
    assert len(ids) < len(part.encode()) * 20_000


def test_fewer_pairs_than_asked_leave_a_smaller_vocabulary():
    tokenizer = BPETokenizer.train(["ab ab"], 5000, special_tokens=["<|x|>"])
    assert tokenizer.vocab_size == 259  # 256 bytes, "ab", " ab" and the special token
    assert tokenizer.special_tokens == {"<|x|>": 258}
    assert tokenizer.decode(tokenizer.encode("any text ab")) == "any text ab"


def test_sources_give_one_vocabulary(tmp_path):
    text = CORPUS[0] * 20
    (tmp_path / "text.txt").write_bytes(text.encode())
    expected = BPETokenizer.train([text], 300).fingerprint()
    assert BPETokenizer.train(str(tmp_path / "text.txt"), 300).fingerprint() == expected
    assert BPETokenizer.train([tmp_path / "text.txt"], 300).fingerprint() == expected


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(vocab_size=257, special_tokens=["x1", "x2"]), "at least 258"),
        (dict(vocab_size=100), "at least 256"),
        (dict(vocab_size=300, pattern="gpt"), "gpt2"),
        (dict(vocab_size=300, special_tokens="<|x|>"), "a list of names"),
        (dict(vocab_size=300, special_tokens={"<|x|>"}), "a list of names"),
        (dict(vocab_size=300, special_tokens=["<|x|>", "<|x|>"]), "named twice"),
        (dict(vocab_size=300, special_tokens=["a"]), "ordinary token"),
        (dict(vocab_size=300, special_tokens=[""]), "not empty"),
        (dict(vocab_size=300, special_tokens=["\ud800x"]), "surrogate"),
        (dict(vocab_size=300, texts_or_path=[]), "no text"),
        (dict(vocab_size=300, texts_or_path="no such file"), "cannot read no such file"),
    ],
)
def test_wrong_arguments_of_train(arguments, message):
    with pytest.raises(InputError, match=message):
        BPETokenizer.train(**{"texts_or_path": CORPUS, **arguments})

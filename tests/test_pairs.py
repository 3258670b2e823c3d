"""Pairs of texts: what is read, that every pair comes once an epoch, and that batches resume."""

import gzip

import numpy as np
import pytest

from tinygrad_llm.data.pairs import (
    END,
    IGNORE,
    START,
    PairBatches,
    batches_in_order,
    cut,
    encode_pairs,
    read_pairs,
    train_tokenizer,
)
from tinygrad_llm.errors import InputError

WORDS = "one two three four five six seven eight nine ten".split()
RNG = np.random.default_rng(0)
TEXTS = [
    (" ".join(RNG.choice(WORDS, n)), " ".join(RNG.choice(WORDS, m)))
    for n, m in RNG.integers(1, 9, (200, 2))
]
TOKENIZER = train_tokenizer(TEXTS, 300)
PAIRS, LEFT_OUT = encode_pairs(TEXTS, TOKENIZER, 64)


def batches(seed=0, tokens=60):
    return PairBatches(PAIRS, batch_tokens=tokens, rng=np.random.default_rng(seed))


def texts_of(batch):
    """The pairs of a batch as text, and a check of what the decoder reads."""
    source, inputs, labels = batch
    special = TOKENIZER.special_tokens
    for row, read, label in zip(source, inputs, labels):
        count = np.count_nonzero(label != IGNORE)
        assert read[0] == special[START] and label[count - 1] == special[END]
        assert np.array_equal(read[1:count], label[: count - 1])
        assert (read[count:] == PAIRS.pad).all() and (label[count:] == IGNORE).all()
        end = int(np.argmax(row == special[END]))
        assert (row[end + 1 :] == PAIRS.pad).all()
        yield TOKENIZER.decode(row[:end]), TOKENIZER.decode(label[: count - 1])


@pytest.mark.parametrize("tokens", [1, 60, 100_000])
def test_every_pair_comes_once_an_epoch(tokens):
    stream, seen, count = batches(tokens=tokens), [], 0
    for _ in range(2):
        epoch = []
        while len(epoch) < len(TEXTS):
            batch = next(stream)
            epoch += texts_of(batch)
            assert max(batch[0].size, batch[1].size) <= tokens or len(batch[0]) == 1
            count += 1
        seen.append(epoch)
    assert sorted(seen[0]) == sorted(seen[1]) == sorted(TEXTS) and LEFT_OUT == 0
    assert tokens == 100_000 or seen[0] != seen[1]


def test_little_is_padding():
    for source, inputs, labels in [next(batches(tokens=60)) for _ in range(10)]:
        assert (labels != IGNORE).mean() > 0.6 and (source != PAIRS.pad).mean() > 0.9


def test_a_seed_decides_and_a_state_goes_on():
    first, second = batches(), batches()
    for _ in range(70):  # past the first epoch
        a, b = next(first), next(second)
        assert all(map(np.array_equal, a, b))
    third = batches(seed=1)
    third.load_state_dict(first.state_dict())
    for _ in range(70):
        assert all(map(np.array_equal, next(first), next(third)))
    assert not np.array_equal(next(batches(seed=2))[0], next(batches(seed=3))[0])


def test_other_states_are_refused():
    state = batches().state_dict()
    for wrong in (
        state | {"checksum": 1},
        state | {"batch_tokens": 61},
        state | {"position": 10_000},
        state | {"epoch": -1},
        {"seed": 1},
    ):
        with pytest.raises(InputError):
            batches().load_state_dict(wrong)


def test_evaluation_reads_every_pair_once():
    read = [pair for batch in batches_in_order(PAIRS, 100) for pair in texts_of(batch)]
    assert sorted(read) == sorted(TEXTS)
    assert np.array_equal(np.sort(np.concatenate(cut(PAIRS, 7, np.arange(200)))), np.arange(200))


def test_files_compressed_and_not_and_a_table(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffone\n \ntwo\u2028x\r\n", encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("eins\nzwei\ndrei\n".encode()))
    expected = [("one", "eins"), ("two\u2028x", "drei")]
    assert read_pairs(tmp_path / "a.txt", tmp_path / "b.txt.gz") == expected
    (tmp_path / "c.tsv").write_text("one\teins\r\n\ntwo\tzwei\tmore\n")
    assert read_pairs(tmp_path / "c.tsv") == [("one", "eins"), ("two", "zwei")]


@pytest.mark.parametrize(
    "content, name, says",
    [
        (b"one\ntwo\nthree\n", "a.txt", "3 lines"),
        (b"\xff\n", "a.txt", "byte 0xFF at offset 0"),
        (b"no gzip", "a.gz", "cannot read"),
        (gzip.compress(b"one\n" * 99)[:-12], "a.gz", "cannot read"),
        (b"\n\n", "a.txt", "no pair"),
    ],
)
def test_a_wrong_file_is_refused(content, name, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "other.txt").write_text("eins\nzwei\n")
    with pytest.raises(InputError, match=says):
        read_pairs(tmp_path / name, tmp_path / "other.txt")
    with pytest.raises(InputError, match="cannot read"):
        read_pairs(tmp_path / "other.txt", tmp_path / "none.txt")
    with pytest.raises(InputError, match="line 1 has no tab"):
        read_pairs(tmp_path / "other.txt")


def test_long_pairs_are_left_out_and_counted():
    some, left_out = encode_pairs([*TEXTS[:5], ("one " * 99, "one")], TOKENIZER, 64)
    assert len(some) == 5 and left_out == 1
    with pytest.raises(InputError, match="longer than 2 tokens"):
        encode_pairs([("one two", "one")], TOKENIZER, 2)

"""Learning merges: a case by hand, the slow definition, and Hugging Face's BpeTrainer."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from tests.random_texts import random_texts, shared_text
from tinygrad_llm.text import bpe_training
from tinygrad_llm.text.bpe_training import BYTE_ID, count_pieces, learn_merges
from tinygrad_llm.text.byte_alphabet import BYTE_ORDER, spell


def by_definition(counts, limit, least=1):
    """Sennrich's algorithm 1 word for word: count every pair anew for every merge."""
    pieces = {piece: [BYTE_ID[byte] for byte in piece.encode()] for piece in counts}
    merges = []
    while len(merges) < limit:
        pairs = Counter()
        for piece, ids in pieces.items():
            for pair in pairwise(ids):
                pairs[pair] += counts[piece]
        if not pairs or max(pairs.values()) < least:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        for ids in pieces.values():
            i = 0
            while i < len(ids) - 1:
                if (ids[i], ids[i + 1]) == best:
                    ids[i : i + 2] = [256 + len(merges)]
                i += 1
        merges.append(best)
    return merges


def test_overlapping_pairs_by_hand():
    """aaaa holds (a, a) three times; merged from the left it is aa aa, and then one token."""
    tokens, merges = learn_merges({"aaaa": 1}, 9)
    assert tokens[256:] == [b"aa", b"aaaa"]
    assert merges == [(BYTE_ID[97], BYTE_ID[97]), (256, 256)]


def test_ties_go_to_the_smaller_ids():
    tokens, _ = learn_merges({"zy": 2, "ab": 2, "é": 2}, 3)
    assert tokens[256:] == [b"ab", b"zy", "é".encode()]


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_definition(seed):
    rng = random.Random(seed)
    words = ["".join(rng.choices("aab", k=rng.randrange(1, 12))) for _ in range(12)]
    counts = {word: rng.randrange(1, 6) for word in words + random_texts(3, seed, length=8)}
    for least in (1, 4):
        _, merges = learn_merges(counts, 60, min_frequency=least)
        assert merges == by_definition(counts, 60, least)


def test_reserved_spelling_is_never_made():
    tokens, _ = learn_merges({" the": 9, "xthe": 3}, 20, reserved={"Ġthe", "th"})
    spelled = [spell(token) for token in tokens]
    assert "Ġthe" not in spelled and "th" not in spelled
    assert "he" in spelled


def test_too_few_pairs_end_early():
    tokens, merges = learn_merges({"ab": 1, "c": 5}, 100)
    assert len(merges) == 1 and len(tokens) == 257
    assert learn_merges({"ab": 1}, 100, min_frequency=2)[1] == []


def test_progress_is_told_at_every_step():
    calls = []
    counts = count_pieces(["ab ab", "ab"], "gpt2", progress=lambda *call: calls.append(call))
    assert counts == {"ab": 2, " ab": 1}
    learn_merges(counts, 5, progress=lambda *call: calls.append(call))
    assert calls == [("count", 5, None), ("count", 7, None), ("merge", 1, 5), ("merge", 2, 5)]


def test_the_rarest_pieces_are_forgotten_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(bpe_training, "MOST_BYTES", 100)
    texts = [f"often word{i} " + "x" * 200 for i in range(1000, 1100)]
    counts = count_pieces(texts, "gpt2")
    assert counts["often"] == 100
    assert sum(map(len, counts)) <= 100 + len(texts[0])


@pytest.mark.parametrize("least", [0, 3])
def test_equals_the_trainer_of_tokenizers(least):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    text = shared_text("tinyshakespeare.txt")[:300_000] + "".join(random_texts(300, seed=4))
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=768,
        min_frequency=least,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    theirs.train_from_iterator([text], trainer)
    tokens, _ = learn_merges(count_pieces([text], "gpt2"), 512, min_frequency=least)
    assert {spell(token): i for i, token in enumerate(tokens)} == theirs.get_vocab()
    assert len(tokens) == 768 and tokens[:256] == [bytes([byte]) for byte in BYTE_ORDER]

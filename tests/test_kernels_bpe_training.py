"""Compiled learning makes the merges of its readable twin, ties and all."""

import json
import random

import pytest

from tests.random_texts import random_texts, shared_text
from tinygrad_llm import reference
from tinygrad_llm.text import BPETokenizer, compiled
from tinygrad_llm.text import bpe_training as readable
from tinygrad_llm.text.patterns import PATTERNS


@pytest.fixture(autouse=True)
def always_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "worthwhile", lambda size: True)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pieces_are_counted_alike(pattern):
    texts = [*random_texts(500, seed=5), "", " ", "it's 1999  \n\n"]
    assert compiled.count_pieces(texts, pattern) == readable.count_pieces(texts, pattern)


def test_random_merges_with_many_ties():
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(rng.choices("ab c", k=rng.randrange(1, 200)))
        counts, least = readable.count_pieces([text], "gpt2"), rng.randrange(3)
        expected = readable.learn_merges(counts, 60, min_frequency=least)
        assert compiled.learn_merges(counts, 60, min_frequency=least) == expected, text


def test_tiny_shakespeare():
    counts = readable.count_pieces([shared_text("tinyshakespeare.txt")], "gpt2")
    assert compiled.learn_merges(counts, 1000) == readable.learn_merges(counts, 1000)


@pytest.mark.parametrize("size", [512, 1024, 4096])
def test_vocabulary_and_merges_equal_those_of_tokenizers(size):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    text = shared_text("tinyshakespeare.txt")
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.pre_tokenizer = byte_level
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=byte_level.alphabet()
    )
    theirs.train_from_iterator([text], trainer)
    merges = json.loads(theirs.to_str())["model"]["merges"]
    ours = BPETokenizer.train([text], size).contents
    assert {ours.spell(token): i for token, i in ours.vocabulary.items()} == theirs.get_vocab()
    assert [[ours.spell(ours.tokens[i]) for i in pair] for pair in ours.merges] == merges


def test_a_merge_that_spells_a_special_token_is_passed_over():
    counts = {"low": 5, "lot": 4}
    expected = readable.learn_merges(counts, 4, reserved={"lo"})
    assert compiled.learn_merges(counts, 4, reserved={"lo"}) == expected
    assert b"lo" not in expected[0]


def test_progress_and_the_end_of_pairs():
    told = []
    tokens, merges = compiled.learn_merges(
        {"abcd": 1}, 1000, progress=lambda *stage: told.append(stage)
    )
    assert tokens[-1] == b"abcd" and told == [("merge", 3, 1000)]
    assert len(merges) == 3


def test_training_inside_reference_is_the_same_vocabulary(monkeypatch):
    text = "it was the best of times, it was the worst of times " * 10
    fast = BPETokenizer.train([text], 290)
    monkeypatch.undo()
    with reference():
        assert BPETokenizer.train([text], 290).fingerprint() == fast.fingerprint()

"""Chunks: no border changes an id, whatever the text, the pattern, the parts and the size."""

import io
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_texts import random_texts
from tinygrad_llm.errors import InputError
from tinygrad_llm.text.patterns import PATTERNS, splitter
from tinygrad_llm.text.streams import LONGEST, chunks, file_chunks, texts, well_formed

TRICKY = st.text(st.sampled_from("aB1é語 \t\n\r\u3000.,'。，!=sl\x1c\u0301"), max_size=60)


def pieces_of_chunks(name, parts, size):
    return [piece for chunk in chunks(parts, size) for piece in splitter(name)(chunk)]


@pytest.mark.parametrize("name", PATTERNS)
@given(text=TRICKY, size=st.integers(1, 9))
@settings(max_examples=400, deadline=None, database=None)
def test_borders_change_no_piece(name, text, size):
    cut = list(chunks([text], size))
    assert "".join(cut) == text
    if all(len(chunk) < LONGEST * size for chunk in cut):
        assert [piece for chunk in cut for piece in splitter(name)(chunk)] == splitter(name)(text)


@pytest.mark.parametrize("name", PATTERNS)
def test_borders_change_no_piece_in_every_script(name):
    rng = random.Random(3)
    text = " and ".join(random_texts(400, seed=3))
    for _ in range(5):
        borders = sorted(rng.choices(range(len(text)), k=50))
        parts = [text[i:j] for i, j in zip([0, *borders], [*borders, len(text)])]
        assert pieces_of_chunks(name, parts, rng.randrange(300, 900)) == splitter(name)(text)


def test_chinese_prose_without_a_space_is_cut():
    text = "春眠不觉晓，处处闻啼鸟。\n　　夜来风雨声，花落知多少。\n" * 50
    cut = list(chunks([text], size=100))
    assert max(map(len, cut)) < 200
    assert [piece for chunk in cut for piece in splitter("gpt2")(chunk)] == splitter("gpt2")(text)


def test_a_file_and_any_parts_give_the_same_text():
    text = "one two three four " * 30
    for source in (io.StringIO(text), [text], list(text), [text[:7], "", text[7:]]):
        cut = list(chunks(source, size=40))
        assert "".join(cut) == text
        assert max(map(len, cut)) <= 80


def test_a_safe_place_where_two_parts_meet_is_found():
    assert list(chunks(["===a", " ==="], size=4)) == ["===a", " ==="]


def test_without_a_safe_place_chunks_stay_bounded():
    cut = list(chunks(["="] * 10_000, size=100))
    assert "".join(cut) == "=" * 10_000
    assert max(map(len, cut)) <= (LONGEST + 2) * 100


def test_memory_does_not_grow_with_the_stream():
    def peak(parts):
        tracemalloc.start()
        for _ in chunks(("some words and more of them\n" * 40 for _ in range(parts)), size=10_000):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(10)
    assert peak(2000) < 1.5 * peak(100)


def test_sources(tmp_path):
    (tmp_path / "a.txt").write_bytes("zwei\r\nWörter".encode())
    path = tmp_path / "a.txt"
    assert "".join(texts(str(path))) == "".join(texts(path)) == "zwei\r\nWörter"
    assert list(texts(["one", path, "two"])) == ["one", "zwei\r\nWörter", "two"]
    with open(path, encoding="utf-8", newline="") as file:
        assert "".join(texts(file)) == "zwei\r\nWörter"


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin").write_bytes("Wörter".encode("latin-1"))
    with pytest.raises(InputError, match="latin is not UTF-8"):
        list(file_chunks(tmp_path / "latin"))
    with pytest.raises(InputError, match="cannot read .*none"):
        list(texts(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot read"):
        list(texts(tmp_path))


@pytest.mark.parametrize(
    "call", [lambda: chunks(["a"], 0), lambda: chunks([b"bytes"]), lambda: texts([3])]
)
def test_wrong_arguments(call):
    with pytest.raises(InputError):
        list(call())


def test_surrogates_are_mended_as_in_utf_16():
    assert well_formed("a\ud83d\ude00b\ud800c") == "a😀b\ufffdc"
    assert well_formed("plain é") == "plain é"
    with pytest.raises(InputError, match="not bytes"):
        well_formed(b"a")

"""sources.py: what is read is what the files hold; what is not text is refused with its place."""

import io
import os
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data import sources
from tinygrad_llm.data.sources import embedded_corpus, find_files, read_documents, read_texts
from tinygrad_llm.errors import InputError

TEXT = "Line one\r\nline two\n\tnaïve Füße 語 😀 \u2028 end"


@pytest.fixture
def folder(tmp_path):
    for name in ("b.txt", "a.md", "deep/er/c.rst", "x.bin", ".hidden.txt", ".git/d.txt", "E.TXT"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"[{name}]\r\n{TEXT}".encode())
    return tmp_path


def names(files, folder):
    return [os.path.relpath(file, folder) for file in files]


def give_stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_folder_stands_for_its_text_files_in_order(folder):
    assert names(find_files(folder), folder) == ["E.TXT", "a.md", "b.txt", "deep/er/c.rst"]


def test_a_glob_reaches_any_file_and_a_name_wins_over_a_glob(folder):
    assert names(find_files([f"{folder}/**/*.bin"]), folder) == ["x.bin"]
    (folder / "odd[1].txt").write_text("odd")
    assert names(find_files([folder / "odd[1].txt"]), folder) == ["odd[1].txt"]


def test_each_file_counts_once_in_the_order_of_the_paths(folder):
    (folder / "link.txt").symlink_to(folder / "b.txt")
    files = find_files([folder / "b.txt", folder, folder / "link.txt", f"{folder}/*.md"])
    assert names(files, folder) == ["b.txt", "E.TXT", "a.md", "deep/er/c.rst"]


def test_line_ends_and_every_character_are_kept(folder):
    expected = [f"[{name}]\r\n{TEXT}" for name in ("a.md", "b.txt")]
    paths = [folder / "a.md", folder / "b.txt"]
    assert ["".join(parts) for parts in read_documents(paths)] == expected
    assert "".join(read_texts(paths)) == "".join(expected)


@pytest.mark.parametrize("block", range(1, 8))
def test_blocks_may_cut_a_character_anywhere(folder, monkeypatch, block):
    monkeypatch.setattr(sources, "BLOCK", block)
    (folder / "bom.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert "".join(read_texts(folder / "bom.txt")) == TEXT


def test_a_file_is_read_in_blocks_of_a_megabyte(tmp_path):
    (tmp_path / "long.txt").write_text("é" * 1_500_000)
    parts = list(read_texts(tmp_path / "long.txt"))
    assert sum(map(len, parts)) == 1_500_000 and max(map(len, parts)) <= sources.BLOCK // 2


@given(
    before=st.text(max_size=9).filter(lambda text: "\0" not in text),
    block=st.integers(1, 9),
    bad=st.sampled_from([b"\0", b"\xff", b"\xe9x", b"\xed\xa0\x80", b"\xc0\x80", b"\xf0\x9f"]),
)
def test_the_offset_of_a_bad_byte_is_exact(before, block, bad):
    content = before.encode() + bad
    blocks = [content[i : i + block] for i in range(0, len(content), block)]
    with pytest.raises(InputError) as caught:
        list(sources._decode(blocks, "f.txt"))
    place = f"byte 0x{bad[0]:02X} at offset {len(before.encode())};"
    assert "f.txt is not UTF-8" in str(caught.value) and place in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x02\x00", "naïve".encode("latin-1"), "text".encode("utf-16"), b"half \xe8\xaa"],
)
def test_a_binary_file_is_refused_before_anything_is_read(folder, content):
    (folder / "z.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"z\.txt is not UTF-8 text: byte 0x.. at offset \d"):
        read_texts(folder)


def test_a_missing_path_is_refused_before_anything_is_read(folder):
    for path in ("none.txt", "nowhere/*.txt"):
        with pytest.raises(InputError, match=r"none\.txt does not exist|no file matches .*nowhere"):
            read_texts([folder / "a.md", folder / path])


def test_a_folder_without_text_names_what_it_looked_for(tmp_path):
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"ends in \.txt, .*a glob"):
        read_texts(tmp_path)


def test_no_path_at_all_is_refused():
    with pytest.raises(InputError, match="no path was given"):
        read_texts([])


def test_an_empty_corpus_is_refused_but_one_empty_file_among_others_is_not(folder):
    empty = folder / "empty.txt"
    empty.touch()
    (folder / "bom.txt").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(InputError, match=r"there is no text in .*empty\.txt"):
        read_texts([empty, folder / "bom.txt"])
    assert "".join(read_texts([empty, folder / "a.md"])) == f"[a.md]\r\n{TEXT}"


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_left_out(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="cannot read the folder .*Permission denied"):
        find_files(folder)


def test_standard_input_is_one_of_the_paths(folder, monkeypatch):
    give_stdin(monkeypatch, TEXT.encode())
    assert "".join(read_texts([folder / "a.md", "-"])) == f"[a.md]\r\n{TEXT}{TEXT}"


@pytest.mark.parametrize(
    "content, message",
    [(b"", "standard input is empty"), (b"ab\xff", "standard input .* at offset 2")],
)
def test_bad_standard_input_is_refused_while_it_is_read(monkeypatch, content, message):
    give_stdin(monkeypatch, content)
    with pytest.raises(InputError, match=message):
        list(read_texts("-"))


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[TEXT.encode()])
    writer.start()
    assert "".join(read_texts(pipe)) == TEXT
    writer.join()


def test_the_embedded_corpus_is_english_and_repeats_no_topic():
    text = embedded_corpus()
    assert text == embedded_corpus() and 350_000 < len(text) < 600_000
    assert text.count('The "while" statement is used for repeated execution') == 1
    paragraphs = [part.strip() for part in text.split("\n\n")]
    held_out = paragraphs[int(0.9 * len(paragraphs)) :]
    seen = set(paragraphs[: int(0.9 * len(paragraphs))])
    repeated = sum(len(part) for part in held_out if part in seen)
    assert repeated < 0.02 * sum(map(len, held_out))


def test_a_python_without_the_corpus_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="lacks pydoc_data.topics.*name a text file"):
        embedded_corpus()

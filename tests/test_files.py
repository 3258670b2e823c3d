"""Files written whole or not at all, never in the place of what is no file; JSON from strangers."""

import json
import os
import threading
import time

import pytest

from tests.test_mutations import SECONDS, memory_limit
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import MAX_JSON_DEPTH, parse_json, read_text, write_atomic


def test_content_arrives_whole_and_nothing_else_stays(tmp_path):
    path = tmp_path / "a.txt"
    for content in ("old", b"new"):
        write_atomic(path, content)
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    with pytest.raises(ZeroDivisionError):
        write_atomic(path, lambda temporary: temporary.write_text("half") / 0)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_pipe_a_device_or_a_folder_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder"):
        before = path.stat()
        with pytest.raises(InputError, match="no ordinary file"):
            write_atomic(path, "text")
        assert path.stat().st_ino == before.st_ino


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(tmp_path / "missing" / "a.txt", "text")
    assert caught.value.filename == str(tmp_path / "missing" / "a.txt")


COSTLY = {  # each as large as a tokenizer's file, and the words of the error
    "a string of escaped quotes without an end": (b'"' + b'\\"' * 10**6, "Unterminated"),
    "the same with half an escape at the end": (b'"' + b'\\"' * 10**6 + b"\\", "Unterminated"),
    "a key twice behind many": (
        json.dumps({f"key{i}": 0 for i in range(10**5)}).encode()[:-1] + b', "key99999": 1}',
        "'key99999' stands twice",
    ),
    "a million levels": (b"[" * 10**6, f"nested more than {MAX_JSON_DEPTH} levels"),
}


@pytest.mark.parametrize("case", COSTLY)
def test_json_made_to_be_costly_is_refused_at_once(case):
    content, message = COSTLY[case]
    start = time.process_time()
    with memory_limit(), pytest.raises(InputError, match=message):
        parse_json(content, "x")
    assert time.process_time() - start < SECONDS


def test_a_long_text_takes_little_more_memory_than_its_own():
    with memory_limit():
        assert len(parse_json(b'["' + b"x" * (8 << 20) + b'"]', "x")[0]) == 8 << 20


def test_brackets_count_outside_of_strings_alone():
    text = '[{"' * 9 + "\\\\\\" + "[" * MAX_JSON_DEPTH
    assert parse_json(json.dumps({text: [[text]]}).encode(), "x") == {text: [[text]]}
    deepest = b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH
    parse_json(deepest, "x")
    with pytest.raises(InputError, match="nested"):
        parse_json(b"[" + deepest + b"]", "x")


def test_a_text_loses_its_byte_order_mark_and_names_the_line_that_is_none(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read_text(path, max_bytes=11) == "one\r\ntwo"
    with pytest.raises(InputError, match="is larger than 10 bytes; give a part"):
        read_text(path, max_bytes=10)
    path.write_bytes(b"one\ntw\xe9")
    with pytest.raises(InputError, match=r"a.txt, line 2 is not UTF-8 \(byte 6 .* save it as"):
        read_text(path, max_bytes=99)


def test_a_text_may_come_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("one\ntwo",))
    writer.start()
    assert read_text(tmp_path / "pipe", max_bytes=99) == "one\ntwo"
    writer.join()


def test_a_key_that_stands_twice_is_named_with_its_value():
    with pytest.raises(InputError, match="the key 'a' stands twice in one object, once as 1"):
        parse_json(b'[{"a": 1, "b": 2, "a": 3}]', "x")

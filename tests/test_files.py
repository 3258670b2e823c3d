"""Files written whole or not at all, and never in the place of what is no file."""

import os
import threading
import time

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import parse_json, read_text, write_atomic


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


@pytest.mark.parametrize("end", [b"", b'"', b"\\"])
def test_a_long_string_that_never_ends_takes_no_long_time(end):
    start = time.process_time()
    with pytest.raises(InputError, match="is not valid JSON"):
        parse_json(b'{"a": "' + b'\\"' * 200_000 + end, "x")
    assert time.process_time() - start < 2


def test_many_keys_of_which_the_last_stands_twice_take_no_long_time():
    keys = ", ".join(f'"{i}": 0' for i in [*range(100_000), 99_999])
    start = time.process_time()
    with pytest.raises(InputError, match="the key '99999' stands twice"):
        parse_json(f"{{{keys}}}".encode(), "x")
    assert time.process_time() - start < 2


def test_brackets_count_outside_of_strings_alone():
    assert parse_json(b'{"a": "' + b"[" * 100 + b'\\"[", "b": [1]}', "x")["b"] == [1]
    with pytest.raises(InputError, match="nested 65 levels"):
        parse_json(b'["\\\\", ' + b"[" * 64 + b"]" * 65, "x")

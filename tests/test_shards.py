"""shards.py: the ids of a corpus are those of its text, whole or not there, in constant memory."""

import errno
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm.data import token_file
from tinygrad_llm.data.shards import INDEX, open_tokens, write_documents, write_shards
from tinygrad_llm.data.sources import read_texts
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer, ByteTokenizer

TEXT = "It was the best of times, it was the worst of times; naïve 語 😀\r\n\n  1999 \t" * 40
BYTES = ByteTokenizer()
BPE = BPETokenizer.train([TEXT], 320, special_tokens=["<|endoftext|>"])
KILLED = """
import os, signal, sys
from tinygrad_llm.data.shards import write_shards
from tinygrad_llm.text import ByteTokenizer
def texts():
    yield "to be or not " * 500_000
def die(size, done=[]):
    done.append(size)
    len(done) == 2 and os.kill(os.getpid(), signal.SIGKILL)
write_shards(texts(), ByteTokenizer(), sys.argv[1], shard_tokens=2_000_000, progress=die)
"""


class WideTokenizer:
    """Ids that need more than two bytes."""

    vocab_size = 80_000

    def encode(self, text):
        return [70_000 + byte for byte in text.encode()]

    def fingerprint(self):
        return "cd" * 32


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    """Four shards and an index."""
    write_shards([TEXT], BYTES, tmp_path / "tokens", shard_tokens=1000)
    return tmp_path / "tokens"


def edit_index(folder, **changes):
    index = json.loads((folder / INDEX).read_text()) | changes
    kept = {key: value for key, value in index.items() if value is not None}
    (folder / INDEX).write_text(json.dumps(kept))


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=8), shard_tokens=st.integers(50, 3000))
def test_the_ids_are_those_of_the_whole_text(tmp_path_factory, cuts, shard_tokens):
    folder = tmp_path_factory.mktemp("tokens")
    borders = [0, *sorted(cuts), len(TEXT)]
    parts = [TEXT[start:stop] for start, stop in zip(borders, borders[1:])]
    index = write_shards(parts, BPE, folder, shard_tokens=shard_tokens)
    expected = BPE.encode(TEXT)
    assert open_tokens(folder, tokenizer=BPE)[:].tolist() == expected
    assert (index.tokens, index.bytes) == (len(expected), len(TEXT.encode()))
    assert len(files(folder)) == 1 + -(-len(expected) // shard_tokens)


def test_the_index_says_what_is_there(folder):
    index = json.loads((folder / INDEX).read_text())
    size = len(TEXT.encode())
    assert index | {"shards": 0} == {
        "tokens": size,
        "bytes": size,
        "vocab_size": 256,
        "tokenizer": BYTES.fingerprint(),
        "shards": 0,
    }
    assert files(folder) == [f"tokens-{n:05d}.bin" for n in range(len(index["shards"]))] + [INDEX]


def test_a_separator_follows_each_document(tmp_path):
    end = BPE.special_tokens["<|endoftext|>"]
    documents = [["one tw", "o"], ["three <|endoftext|>"]]
    write_documents(documents, BPE, tmp_path, separator=end)
    expected = [*BPE.encode("one two"), end, *BPE.encode("three <|endoftext|>"), end]
    assert open_tokens(tmp_path)[:].tolist() == expected and expected.count(end) == 2


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    write_shards(["abc"], WideTokenizer(), tmp_path)
    assert (tmp_path / "tokens-00000.bin").stat().st_size == 96 + 3 * 4
    tokens = open_tokens(tmp_path, tokenizer=WideTokenizer())
    assert tokens[:].tolist() == [70_097, 70_098, 70_099]


def test_progress_adds_up_to_the_bytes_of_the_text(tmp_path):
    sizes = []
    write_shards(["né " * 500_000] * 2, BYTES, tmp_path, progress=sizes.append)
    assert len(sizes) > 1 and sum(sizes) == 4_000_000


def test_one_shard_and_a_file_of_nanogpt_open_alone(folder, tmp_path):
    assert open_tokens(folder / "tokens-00001.bin", tokenizer=BYTES)[:].tolist() == list(
        TEXT.encode()[1000:2000]
    )
    np.array(BPE.encode(TEXT), dtype=np.uint16).tofile(tmp_path / "val.bin")
    assert open_tokens(str(tmp_path / "val.bin"), tokenizer=BPE)[:].tolist() == BPE.encode(TEXT)
    with pytest.raises(InputError, match="val.bin holds the id .*, but the vocabulary has 256"):
        open_tokens(tmp_path / "val.bin", tokenizer=BYTES)


def test_another_tokenizer_is_refused(folder):
    with pytest.raises(InputError, match="ids of another tokenizer .* tokenize the corpus again"):
        open_tokens(folder, tokenizer=ByteTokenizer(["<|endoftext|>"]))


def test_a_truncated_shard_is_refused(folder):
    os.truncate(folder / "tokens-00002.bin", 700)
    with pytest.raises(InputError, match=r"tokens-00002\.bin has 700 bytes where .* 2,096"):
        open_tokens(folder, verify=False)


def test_a_missing_shard_is_refused(folder):
    (folder / "tokens-00001.bin").unlink()
    with pytest.raises(InputError, match=r"tokens-00001\.bin is not a file"):
        open_tokens(folder)


def test_a_changed_byte_is_found_unless_not_asked_for(folder):
    content = bytearray((folder / "tokens-00001.bin").read_bytes())
    content[500] ^= 1
    (folder / "tokens-00001.bin").write_bytes(content)
    open_tokens(folder, verify=False)
    with pytest.raises(InputError, match=r"tokens-00001\.bin is damaged"):
        open_tokens(folder)


def test_shards_of_two_runs_do_not_mix(folder, tmp_path):
    write_shards([TEXT.upper()], BYTES, tmp_path / "other", shard_tokens=1000)
    (tmp_path / "other" / "tokens-00001.bin").replace(folder / "tokens-00001.bin")
    with pytest.raises(InputError, match=r"tokens-00001\.bin is not the shard that tokens\.json"):
        open_tokens(folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"tokens": 7}, "tokens where tokens.json promises 7"),
        ({"shards": []}, "holds 0 tokens"),
        ({"bytes": None}, "lacks a key .*bytes"),
        ({"byte": 1}, "unknown setting 'byte'"),
        ({"shards": "all"}, "not of type list"),
        ({"shards": ["../x"]}, "not the shard"),
    ],
)
def test_an_index_that_was_tampered_with_is_refused(folder, changes, message):
    edit_index(folder, **changes)
    with pytest.raises(InputError, match=message):
        open_tokens(folder)


def test_tokens_are_never_overwritten(folder):
    before = files(folder)
    with pytest.raises(InputError, match="holds tokens already; remove it or name another"):
        write_shards(["new"], BYTES, folder)
    assert files(folder) == before and open_tokens(folder)[:].tolist() == list(TEXT.encode())


def test_a_killed_run_leaves_no_corpus_and_the_next_one_cleans_up(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    assert done.returncode == -9 and len(files(tmp_path)) > 1
    with pytest.raises(InputError, match="has no tokens.json: tokenizing did not finish"):
        open_tokens(tmp_path)
    write_shards(["fresh"], BYTES, tmp_path)
    assert files(tmp_path) == ["tokens-00000.bin", INDEX]
    assert open_tokens(tmp_path)[:].tolist() == list(b"fresh")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, as Linux has it")
def test_a_full_disk_is_an_oserror_and_leaves_nothing_behind(tmp_path, monkeypatch):
    """The kernel itself refuses the third shard: /dev/full is open in its place."""

    def full_from_the_third_on(path, mode):
        return open("/dev/full" if "tokens-00002" in str(path) else path, mode)

    monkeypatch.setattr(token_file, "open", full_from_the_third_on, raising=False)
    with pytest.raises(OSError) as caught:
        write_shards([TEXT], BYTES, tmp_path, shard_tokens=1000)
    assert caught.value.errno == errno.ENOSPC and files(tmp_path) == []


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_an_empty_corpus_is_refused(tmp_path, texts):
    with pytest.raises(InputError, match="the corpus is empty"):
        write_documents([texts], BYTES, tmp_path, separator=7)
    assert files(tmp_path) == []


def test_a_bad_text_leaves_nothing_behind(tmp_path):
    def texts():
        yield "good " * 500_000
        raise InputError("bad")

    with pytest.raises(InputError, match="bad"):
        write_shards(texts(), BYTES, tmp_path, shard_tokens=400_000)
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        with pytest.raises(InputError, match="cannot make the folder .*file.*name another"):
            write_shards(["text"], BYTES, tmp_path / folder)


def test_a_folder_without_write_permission_is_refused(tmp_path, monkeypatch):
    tmp_path.chmod(0o555)
    if os.geteuid() == 0:  # root may write anywhere, so the answer of the system is given here
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(InputError, match="cannot write into .*: permission denied; name another"):
        write_shards(["text"], BYTES, tmp_path)
    tmp_path.chmod(0o755)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "chosen, message",
    [({"separator": 256}, "separator 256 is not in"), ({"shard_tokens": 0}, "give 1 or more")],
)
def test_settings_that_cannot_work_are_refused(tmp_path, chosen, message):
    with pytest.raises(InputError, match=message):
        write_documents([["text"]], BYTES, tmp_path, **chosen)


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """From the file to the last shard, the peak for 20 MB is that for 3 MB within 1 MB."""
    peaks = []
    for megabytes in (3, 20):
        (tmp_path / "corpus.txt").write_text("to be or not to be, " * (50_000 * megabytes))
        tracemalloc.start()
        write_shards(read_texts(tmp_path / "corpus.txt"), BYTES, tmp_path / str(megabytes))
        train, _ = open_tokens(tmp_path / str(megabytes)).split(0.1)
        train[1000:2000]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000

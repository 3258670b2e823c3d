"""Tokens for the eye: colours, a page, merges one by one, and the command."""

import html
import re

import pytest

from tests.test_cli import refuse
from tinygrad_llm.cli.main import main
from tinygrad_llm.errors import InputError
from tinygrad_llm.explain.tokens import coloured, merge_steps, page, printable
from tinygrad_llm.text import BPETokenizer, ByteTokenizer

TEXT = "low <b>lower</b>\nnaïve\x1b[2J 😀"


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(["low low low lower lowest"] * 3, 264)


def test_what_is_printed_is_harmless_and_complete(tokenizer):
    assert printable(b" a\n\t\xc3\xa9") == "␣a⏎⇥é"
    assert printable(b"\x1b\xf0\x9f") == "<1B>\\xf0\\x9f"
    shown = coloured(tokenizer, TEXT)
    parts = re.findall(r"\x1b\[30;48;5;(\d+)m([^\x1b]*)\x1b\[0m", shown)
    assert len(parts) == len(tokenizer.encode(TEXT))
    assert all(a[0] != b[0] for a, b in zip(parts, parts[1:]))
    assert shown == "".join(f"\x1b[30;48;5;{c}m{t}\x1b[0m" for c, t in parts)


def test_the_page_shows_every_token_and_runs_nothing(tokenizer):
    text = page(tokenizer, TEXT)
    shown = re.findall(r'<span title="id (\d+), [0-9a-f ]*" [^>]*>(.*?)</span>', text)
    assert [int(index) for index, _ in shown] == tokenizer.encode(TEXT)
    assert "<b>" not in text
    assert "".join(html.unescape(s) for _, s in shown).startswith("low␣<b>low")


def test_merges_replayed_by_hand(tokenizer):
    steps = list(merge_steps(tokenizer, "lower"))
    assert steps[0] == [b"l", b"o", b"w", b"e", b"r"]
    assert steps[1] == [b"l", b"ow", b"e", b"r"] or steps[1] == [b"lo", b"w", b"e", b"r"]
    ids = tokenizer.encode("lower")
    assert steps[-1] == [tokenizer.token_bytes(index) for index in ids]
    assert all(len(a) == len(b) + 1 for a, b in zip(steps, steps[1:]))


def test_only_one_piece_has_merges(tokenizer):
    with pytest.raises(InputError, match="is cut into"):
        list(merge_steps(tokenizer, "low low"))
    with pytest.raises(InputError, match="has no merges"):
        list(merge_steps(ByteTokenizer(), "low"))


def test_the_command(tokenizer, tmp_path, capsys):
    tokenizer.save(tmp_path)
    assert main(["tokenizer", "show", str(tmp_path), "low", "--merges"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "l | o | w"
    target = tmp_path / "tokens.html"
    assert main(["tokenizer", "show", str(tmp_path), TEXT, "--html", str(target)]) == 0
    assert "bytes a token" in capsys.readouterr().out and "<span" in target.read_text()
    assert "cut into" in refuse(capsys, 2, "tokenizer", "show", str(tmp_path), "a b", "--merges")


def test_training_ends_with_a_summary(tmp_path, capsys):
    data = tmp_path / "text.txt"
    data.write_text("low low lower\n" * 50)
    out = tmp_path / "tokenizer.json"
    command = ["tokenizer", "train", "--data", str(data), "--vocab-size", "262", "--out", str(out)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"\d\.\d\d bytes per token on 700 bytes", lines[1])
    assert lines[2].startswith("longest tokens: ") and "low" in lines[2]
    assert re.match(r"coverage: \d of the tokens occur there \(\d+%\)", lines[3])


def test_offsets_are_the_characters_that_an_id_touches(tokenizer):
    ids, offsets = tokenizer.encode_with_offsets("low é😀 lower")
    assert ids == tokenizer.encode("low é😀 lower") and offsets[0] == (0, 3)
    touched = [tokenizer.token_bytes(i) for i in ids]
    emoji = [span for span, token in zip(offsets, touched) if token[0] >= 0xF0 or token[0] == 0x9F]
    assert set(emoji) == {(5, 6)}
    assert [a for a, _ in offsets] == sorted(a for a, _ in offsets) and offsets[-1][1] == 12
    assert tokenizer.encode_with_offsets("") == ([], [])

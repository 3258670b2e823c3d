"""encoder.json and vocab.bpe: what a small pair means, and every way it can be malformed."""

import json

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.byte_alphabet import BYTE_ORDER, spell

IDS = {spell(bytes([byte])): i for i, byte in enumerate(BYTE_ORDER)}
IDS |= {"Ġa": 256, "Ġab": 257, "<|endoftext|>": 258}
MERGES = "#version: 0.2\nĠ a\nĠa b\n"


def from_gpt2(folder, ids=IDS, merges=MERGES, **settings):
    content = ids if isinstance(ids, bytes) else json.dumps(ids).encode()
    (folder / "encoder.json").write_bytes(content)
    (folder / "vocab.bpe").write_bytes(merges if isinstance(merges, bytes) else merges.encode())
    return BPETokenizer.from_gpt2(folder / "encoder.json", folder / "vocab.bpe", **settings)


def test_a_small_pair(tmp_path):
    tokenizer = from_gpt2(tmp_path)
    assert tokenizer.encode(" ab ab<|endoftext|>", "all") == [257, 257, 258]
    assert tokenizer.decode([257, 258]) == " ab<|endoftext|>"
    plain = {name: index for name, index in IDS.items() if index < 258}
    assert from_gpt2(tmp_path, plain, special_tokens=[]).special_tokens == {}


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(ids=b"{"), "encoder.json is not valid JSON"),
        (dict(ids=[1]), "object"),
        (dict(ids={**IDS, "x y": 259}), "stands for no byte"),
        (dict(ids={**IDS, "xy": "259"}), "has the id '259'"),
        (dict(ids={**IDS, "xy": 7}), "id 7 belongs to both"),
        (dict(ids={"<|endoftext|>": 0}), "Ġ"),
        (dict(special_tokens=["<|pad|>"]), "no token '<|pad|>'"),
        (dict(special_tokens="<|endoftext|>"), "a list of names"),
        (dict(merges="Ġ a\nĠa"), "a merge joins two tokens"),
        (dict(merges="Ġ a b"), "a merge joins two tokens"),
        (dict(merges="Ġ zz"), "a merge names 'zz'"),
        (dict(merges="a b"), "makes no token"),
        (dict(merges="Ġ a\nĠ a"), "twice"),
        (dict(merges="Ġ <|endoftext|>"), "no ordinary token"),
        (dict(merges=b"\xff\xfe"), "vocab.bpe is not UTF-8"),
    ],
)
def test_malformed_files(tmp_path, change, message):
    with pytest.raises(InputError) as error:
        from_gpt2(tmp_path, **change)
    assert message in str(error.value)


def test_missing_files(tmp_path):
    from_gpt2(tmp_path)
    for name in ("vocab.bpe", "encoder.json"):
        (tmp_path / name).unlink()
        with pytest.raises(InputError, match=f"cannot read .*{name}"):
            BPETokenizer.from_gpt2(tmp_path / "encoder.json", tmp_path / "vocab.bpe")

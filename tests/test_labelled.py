"""Labelled texts: three kinds of file, what is wrong with one named by line, balance and split."""

import csv
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.labelled import (
    Labelled,
    balanced,
    class_weights,
    majority,
    read_labelled,
    split,
)

WANTED = Labelled(['say "hi", you', "two"], ["ham", "spam"])
FILES = {
    "a.tsv": 'Label\tSMS\nham\tsay "hi", you\n\nspam\ttwo\n',
    "b.tsv": '\ufeffid\ttext\tlabel\r\n7\tsay "hi", you\tham\r\n8\ttwo\tspam',
    "c.csv": 'text,label\n"say ""hi"", you",ham\n\ntwo,spam\n',
    "crlf.csv": '\ufeff"text","label"\r\n"say ""hi"", you",ham\r\ntwo,spam\r\n',
    "d.jsonl": '{"text": "say \\"hi\\", you", "label": "ham"}\n{"label": "spam", "text": " two "}',
}


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", FILES)
def test_three_kinds_of_file(tmp_path, name):
    assert read_labelled(write(tmp_path, name, FILES[name])) == WANTED


def test_columns_without_a_name_may_be_many(tmp_path):
    """As a spreadsheet writes them."""
    path = write(tmp_path, "a.csv", "label,text,,\nham,hi,,\nspam,ho,,\n")
    assert read_labelled(path) == Labelled(["hi", "ho"], ["ham", "spam"])


def test_half_a_character_is_the_tokenizers_sign_for_it(tmp_path):
    """JSON can write it, UTF-8 and matplotlib cannot."""
    path = write(tmp_path, "a.jsonl", r'{"text": "a\ud800", "label": "\ud800"}')
    path.write_text(path.read_text() + '\n{"text": "b", "label": "c"}')
    assert read_labelled(path) == Labelled(["a\ufffd", "b"], ["\ufffd", "c"])


def test_a_long_field_is_read_and_the_limit_of_csv_stays(tmp_path):
    before = csv.field_size_limit()
    path = write(tmp_path, "a.csv", f"text,label\n{'x' * (before + 1)},ham\nho,spam\n")
    assert len(read_labelled(path).texts[0]) == before + 1
    with pytest.raises(InputError, match="line 2 is not CSV"):
        read_labelled(write(tmp_path, "b.csv", 'text,label\n"open'))
    assert csv.field_size_limit() == before


def test_columns_by_name_and_labels_that_are_numbers(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"q": "x", "text": "y", "c": 1}\n{"q": "z", "c": true}')
    found = read_labelled(path, text_column="q", label_column="c")
    assert found == Labelled(["x", "z"], ["1", "True"])


@pytest.mark.parametrize(
    "name,content,message",
    [
        ("a.txt", "x", "is not a .tsv, .csv or .jsonl file"),
        ("a.tsv", "kind\tSMS\nham\thi\n", "0 columns that may be the label; it has kind, SMS: "
         "name one with --label-column"),
        ("a.tsv", "label\ttext\tmessage\nham\thi\tho\n", "2 columns that may be the text"),
        ("a.tsv", "label\ttext\nham\thi\nham\tho\n", "all 2 examples have the label 'ham'"),
        ("a.tsv", "label\ttext\nham\thi\nspam\t \n", "line 3: 'text' is empty"),
        ("a.tsv", "label\ttext\nham\thi\nspam\tx\ty\n", "line 3 has 3 columns, .* 2: label, text"),
        ("a.tsv", b"label\ttext\nham\thi\nspam\t\xff\n", "line 3 is not UTF-8 .byte 23"),
        ("a.tsv", "label\ttext\ttext\nham\thi\tho\n", "has two columns 'text'; give each"),
        ("a.tsv", "label\ttext\n", "holds no example"),
        ("a.tsv", "", "holds no example"),
        ("a.csv", 'text,label\nhi,ham\n"open,spam\n', "line 3 is not CSV"),
        ("a.csv", 'text,label\n"two\nlines",ham\n,spam\n', "line 4: 'text' is empty"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text": "c"\n', "line 2 is not valid JSON"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n[1]\n', "line 2 is no JSON object"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text": "c"}\n', "line 2 has no 'label'"),
        ("a.jsonl", '{"text": ["a"], "label": "b"}\n', r"line 1: 'text' is \['a'\], not a text"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        read_labelled(write(tmp_path, name, content))


def test_a_column_that_is_not_there_and_a_file_that_is_not_there(tmp_path):
    path = write(tmp_path, "a.tsv", FILES["a.tsv"])
    with pytest.raises(InputError, match="no column 'body'; it has Label, SMS: .*--text-column"):
        read_labelled(path, text_column="body")
    with pytest.raises(InputError, match="'Label' would be the text and the label; it has Label, "):
        read_labelled(path, text_column="Label")
    with pytest.raises(InputError, match="cannot read .*none.tsv"):
        read_labelled(tmp_path / "none.tsv")


def many():
    labels = ["ham"] * 80 + ["spam"] * 20
    return Labelled([f"text {i}" for i in range(100)], labels)


def test_balanced_takes_as_many_of_each_and_the_seed_says_which():
    one, same, other = (balanced(many(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert Counter(one.labels) == {"ham": 20, "spam": 20}
    assert one == same and set(one.texts) != set(other.texts)
    assert set(zip(*one)) <= set(zip(*many()))


def test_a_long_label_costs_its_length_once():
    """1,000,000 characters beside 10,000 labels: an array of texts would take 40 GB."""
    labels = ["ham"] * 10_000 + ["x" * 1_000_000]
    tracemalloc.start()
    one = balanced(Labelled(labels, labels), np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Counter(one.labels) == {"ham": 1, labels[-1]: 1} and peak < 10e6


def test_split_is_70_10_20_loses_nothing_and_numbers_labels_in_order():
    found = split(many(), np.random.default_rng(1))
    assert [len(part.texts) for part in found[:3]] == [70, 10, 20]
    together = [pair for part in found[:3] for pair in zip(*part)]
    assert sorted(together) == sorted(zip(*many()))
    assert found.names == ("ham", "spam")
    numbers = found.numbers(found.test)
    assert [found.names[i] for i in numbers] == found.test.labels


def test_a_label_that_training_lacks_is_refused():
    rare = Labelled([*many().texts, "odd"], [*many().labels, "odd"])
    with pytest.raises(InputError, match="'odd' is in the (validation|test) part but in none"):
        for seed in range(40):
            split(rare, np.random.default_rng(seed))
    with pytest.raises(InputError, match="of 2 examples none is left for test"):
        split(Labelled(["a", "b"], ["x", "x"]), np.random.default_rng(0))


def test_weights_by_hand():
    """Of 4 texts 3 have label 0: they weigh 4 / (2 * 3), the other one 4 / 2; 4 in all."""
    weights = class_weights(np.array([0, 0, 1, 0]), 2)
    np.testing.assert_allclose(weights, [2 / 3, 2])
    assert majority([0, 0, 1], [0, 1, 1, 1]) == 0.25

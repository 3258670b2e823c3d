"""Which state is a text's vector, from the files of Sentence Transformers; copied with a model."""

import dataclasses
import json

import numpy as np
import pytest

from tests.test_cli import refuse
from tests.test_encode import TEXTS, TOKENIZER, model_of
from tinygrad_llm.cli.main import main
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.inference.encode import text_vectors
from tinygrad_llm.inference.sentence_config import SentenceConfig, load_sentence_config
from tinygrad_llm.recipes.import_ import import_model

NAME = "sentence_transformers.models."


def write(folder, pooling, steps=("Transformer", "Pooling", "Normalize"), **length):
    (folder / "1_Pooling").mkdir(exist_ok=True)
    documents = {
        "modules.json": [{"type": NAME + step} for step in steps],
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": length,
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document))


@pytest.mark.parametrize(
    "pooling, expected",
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_the_files_say_what_is_pooled_and_how_much_counts(tmp_path, pooling, expected):
    assert load_sentence_config(tmp_path) == SentenceConfig()
    write(tmp_path, pooling, max_seq_length=7, do_lower_case=True, transformer_task="x")
    assert load_sentence_config(tmp_path) == SentenceConfig(expected, 7, True)


CLS, FLAG = {"pooling_mode": "cls"}, "pooling_mode_"


@pytest.mark.parametrize(
    "named, arguments",
    [
        ("max_tokens", {"pooling": {FLAG + "max_tokens": True}}),
        ("cls_token, ", {"pooling": {FLAG + "cls_token": True, FLAG + "mean_tokens": True}}),
        ("'lasttoken'", {"pooling": {"pooling_mode": "lasttoken"}}),
        ("Dense", {"pooling": CLS, "steps": ("Transformer", "Pooling", "Dense")}),
        ("max_seq_length is 2", {"pooling": CLS, "max_seq_length": 2}),
        ("max_seq_length", {"pooling": CLS, "max_seq_length": "2"}),
        ("1_Pooling/config.json", {"pooling": []}),
    ],
)
def test_what_would_give_wrong_vectors_is_refused(tmp_path, named, arguments):
    write(tmp_path, **arguments)
    with pytest.raises(InputError, match=named):
        load_sentence_config(tmp_path)
    (tmp_path / "modules.json").write_text('{"type": [1]}')
    with pytest.raises(InputError, match="modules.json"):
        load_sentence_config(tmp_path)


def test_the_first_state_the_length_and_small_letters_make_the_vectors():
    model = model_of()
    vectors, _ = text_vectors(model, TOKENIZER, TEXTS, SentenceConfig("cls"))
    ids = [[*TOKENIZER.wrap(TOKENIZER.encode(text))] for text in TEXTS]
    for row, vector in zip(ids, vectors, strict=True):
        first = model.hidden(np.array([row])).data[0, 0]
        np.testing.assert_allclose(vector, first / np.linalg.norm(first), atol=1e-5)
    short, cut = text_vectors(model, TOKENIZER, ["the lazy dog"], SentenceConfig(max_seq_length=4))
    same, _ = text_vectors(model, TOKENIZER, ["the lazy"])
    np.testing.assert_allclose(short, same, atol=1e-6)
    assert cut == [0]
    cased = dataclasses.replace(TOKENIZER.contents.wordpiece, lowercase=False)
    cased = type(TOKENIZER)(dataclasses.replace(TOKENIZER.contents, wordpiece=cased))
    small, _ = text_vectors(model, cased, ["THE FOX"], SentenceConfig(do_lower_case=True))
    np.testing.assert_allclose(small, text_vectors(model, cased, ["the fox"])[0], atol=1e-6)


def test_they_come_along_with_a_model_and_embed_heeds_them(tmp_path, capsys):
    source, own = tmp_path / "source", tmp_path / "own"
    save_model(source, model_of())
    TOKENIZER.save(source)
    write(source, CLS, max_seq_length=4)
    assert import_model(str(source), own).notes == []
    assert main(["embed", str(own), "the lazy dog"]) == 0
    found, config = capsys.readouterr(), SentenceConfig("cls", 4)
    expected, _ = text_vectors(model_of(), TOKENIZER, ["the lazy dog"], config)
    np.testing.assert_allclose([json.loads(found.out)["vector"]], expected, atol=1e-6)
    assert "text 1 is longer than the 4 tokens" in found.err
    write(own, CLS, steps=("Dense",))
    assert "Dense is not implemented" in refuse(capsys, 2, "embed", str(own), "the lazy dog")


def test_minilm_reads_256_tokens_and_takes_their_mean(minilm):
    assert load_sentence_config(minilm) == SentenceConfig("mean", 256)

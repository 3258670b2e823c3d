"""Vectors of texts and words for hidden places: batches, cutting, transformers, the commands."""

import dataclasses
import json

import numpy as np
import pytest

from tests.test_bert import SMALL
from tests.test_sources import give_stdin
from tinygrad_llm.cli.main import main
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.inference.encode import BATCH, MASK, fill_masks, text_vectors
from tinygrad_llm.models.bert import Bert, BertForMaskedLM
from tinygrad_llm.text import WordPieceTokenizer, load_tokenizer
from tinygrad_llm.text.contents import Contents, WordPieceSettings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK]
WORDS = "the a fox dog quick lazy jumps over runs ##s under . brown".split()
TOKENIZER = WordPieceTokenizer(
    Contents(
        "wordpiece",
        {word.encode(): i for i, word in enumerate(WORDS, len(SPECIAL))},
        {name: i for i, name in enumerate(SPECIAL)},
        wordpiece=WordPieceSettings(),
    )
)
TEXTS = ["the fox runs", "a dog", "the quick brown fox jumps over the lazy dog.", "fox", "a a a"]


def model_of(kind=BertForMaskedLM):
    config = dataclasses.replace(SMALL, vocab_size=TOKENIZER.vocab_size)
    return kind(config, rng=np.random.default_rng(3)).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    save_model(folder, model_of())
    TOKENIZER.save(folder)
    return folder


def test_a_text_has_the_vector_that_it_has_alone():
    model, texts = model_of(), TEXTS * (BATCH // 4)
    vectors, cut = text_vectors(model, TOKENIZER, texts)
    assert vectors.shape == (len(texts), 24) and not cut
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for i, text in enumerate(TEXTS):
        alone = text_vectors(model, TOKENIZER, [text])[0][0]
        np.testing.assert_allclose(vectors[i], alone, atol=1e-5)
    assert abs(vectors[0] @ vectors[1]) < 0.999


def test_long_texts_are_cut_and_named_empty_ones_refused():
    model = model_of()
    vectors, cut = text_vectors(model, TOKENIZER, ["fox", "the dog " * 20, "the dog " * 7])
    assert cut == [1]
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-6)
    with pytest.raises(InputError, match="no token"):
        text_vectors(model, TOKENIZER, ["fox", " "])


def test_ids_that_the_model_does_not_know_are_refused_and_rows_without_a_word_no_guess():
    small, large = (
        BertForMaskedLM(dataclasses.replace(SMALL, vocab_size=size), rng=np.random.default_rng(3))
        for size in (TOKENIZER.vocab_size - 1, TOKENIZER.vocab_size + 9)
    )
    for use in (
        lambda text: text_vectors(small, TOKENIZER, [text]),
        lambda text: fill_masks(small, TOKENIZER, MASK + text),
    ):
        use("the fox")
        with pytest.raises(InputError, match="does the tokenizer belong"):
            use("brown .")
    assert len(fill_masks(large, TOKENIZER, MASK, best=99)[0]) == TOKENIZER.vocab_size


def test_words_for_masks_are_the_best_of_the_whole_forward_pass():
    model = model_of()
    found = fill_masks(model, TOKENIZER, f"the {MASK} runs over a {MASK}.", best=18)
    ids = [TOKENIZER.wrap(TOKENIZER.encode(f"the {MASK} runs over a {MASK}.", {MASK}))]
    logits = model(np.array(ids)).data[0][[2, 6]].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for row, guesses in zip(p, found, strict=True):
        assert [guess.probability for guess in guesses] == pytest.approx(sorted(row)[::-1])
        assert guesses[0].word == TOKENIZER.decode([int(row.argmax())])
        assert sum(guess.probability for guess in guesses) == pytest.approx(1)


def test_what_cannot_be_filled():
    with pytest.raises(InputError, match=r"no \[MASK\]"):
        fill_masks(model_of(), TOKENIZER, "the fox")
    with pytest.raises(InputError, match="1 or more"):
        fill_masks(model_of(), TOKENIZER, MASK, best=0)


def test_vectors_of_minilm_are_those_of_transformers(minilm):
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    texts = ["A man is eating food.", "Someone has a meal.", "The girl carries a baby."]
    batch = transformers.AutoTokenizer.from_pretrained(minilm)(
        texts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        states = transformers.AutoModel.from_pretrained(minilm)(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    theirs = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy()
    ours, _ = text_vectors(load_model(minilm), load_tokenizer(minilm), texts)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_embed_writes_lines_arrays_and_a_table(folder, tmp_path, capsys, monkeypatch):
    expected, _ = text_vectors(model_of(), TOKENIZER, TEXTS)
    assert main(["embed", str(folder), *TEXTS]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_allclose([row["vector"] for row in rows], expected, atol=1e-6)
    give_stdin(monkeypatch, "\n".join(TEXTS).encode())
    assert main(["embed", str(folder), "-", "--out", str(tmp_path / "x.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected, atol=1e-6)
    assert capsys.readouterr() == ("", "")
    give_stdin(monkeypatch, "\n \n".join([*TEXTS, ""]).encode())
    assert main(["embed", str(folder), "-", "--out", str(tmp_path / "x.npy")]) == 0
    assert len(np.load(tmp_path / "x.npy")) == len(TEXTS)
    assert "5 empty lines have no vector" in capsys.readouterr().err
    assert main(["embed", str(folder), "--similar", *TEXTS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and "1.00" in lines[1] and lines[1].endswith(TEXTS[0])


def test_embed_refuses_what_it_cannot_do(folder, tmp_path, capsys, monkeypatch):
    assert main(["embed", str(folder), "fox", "--out", str(tmp_path / "x.txt")]) == 2
    assert ".npy" in capsys.readouterr().err
    give_stdin(monkeypatch, b"\n\n")
    assert main(["embed", str(folder), "-"]) == 2
    assert main(["embed", str(tmp_path / "none"), "fox"]) == 2


def test_fill_mask_prints_the_best_words(folder, tmp_path, capsys):
    assert main(["fill-mask", str(folder), f"the {MASK} runs {MASK}", "--best", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and lines[4] == "[MASK] 2:" and "%" in lines[1]
    save_model(tmp_path, model_of(Bert))
    TOKENIZER.save(tmp_path)
    assert main(["fill-mask", str(tmp_path), f"the {MASK}"]) == 2
    assert "--preset bert" in capsys.readouterr().err

"""Small versions of the examples: each one runs, prints its figure, and stays under 60 lines of
code.
"""

import gzip
import importlib.util
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.errors import InputError
from tinygrad_llm.recipes.import_ import find_weights

ROOT = Path(__file__).parents[1] / "examples"
FILES = sorted(ROOT.glob("[0-9]*.py"))


def needs(name):
    """Skip where the package with these weights is not installed."""
    try:
        find_weights(name)
    except InputError as error:
        pytest.skip(str(error))


def load(number):
    path = next(ROOT.glob(f"{number:0>2}_*.py"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_under_sixty_lines(path):
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = {t.start[0] for t in tokens if t.type not in skipped}
    assert len(lines) <= 60


def test_backprop_by_hand(capsys):
    assert load(1).main()
    assert "without order says 8.0" in capsys.readouterr().out


def test_first_network():
    assert load(2).main(steps=600)


def test_next_word(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 100)
    assert load(3).main(text, steps=60, mark=2.9, with_torch=False)
    assert not load(3).main(text, steps=2, mark=0.1, with_torch=False)


def test_attention(tmp_path):
    assert load(4).main(out=tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_text().startswith("<svg")


def test_bits_per_byte():
    tiny = {
        "n_layer": 1,
        "n_embd": 16,
        "n_head": 2,
        "n_positions": 16,
        "vocab_size": 300,
        "steps": 3,
        "eval_every": 3,
        "batch_size": 2,
    }
    assert not load(5).main(seeds=(1,), **tiny)  # three steps beat no trigram


def run(number, *arguments):
    """An example as its own process, as those need that start processes themselves: (code,
    output).
    """
    path = next(ROOT.glob(f"{number:02d}_*.py"))
    done = subprocess.run([sys.executable, path, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout


def test_large_corpus():
    code, out = run(6, "4")
    assert code == 0 and "growth" in out


def test_completion():
    assert load(7).main(count=64)


def test_gpt_sizes(capsys):
    module = load(8)
    assert module.main(module.TINY)
    assert "124,439,808" in capsys.readouterr().out


def test_cost():
    code, out = run(9, "char-cpu")
    assert code in (0, 1)  # 1: the time was not as forecast, which a busy machine makes so
    assert "804,096 parameters" in out and "a step forecast" in out


def test_reverse(capsys):
    assert not load("11a").main(steps=3, width=16)
    assert "held-out texts" in capsys.readouterr().out
    assert load("11a").main(steps=3, width=16, mark=0.0)


def test_number_words(capsys):
    module = load("11b")
    for number, english, german in (
        (1, "one", "eins"),
        (101, "one hundred one", "einhunderteins"),
        (17_016, "seventeen thousand sixteen", "siebzehntausendsechzehn"),
        (
            21_321,
            "twenty-one thousand three hundred twenty-one",
            "einundzwanzigtausenddreihunderteinundzwanzig",
        ),
        (100_000, "one hundred thousand", "einhunderttausend"),
    ):
        assert (module.english(number), module.german(number)) == (english, german)
    assert not module.main(count=60, held_out=4, steps=3)
    assert "0.0% of 4 held-out numbers" in capsys.readouterr().out


def test_multi30k(tmp_path, capsys):
    pytest.importorskip("sacrebleu")
    module = load("11c")
    for name in (*module.PARTS.values(), "test_2016_flickr.en.gz", "test_2016_flickr.de.gz"):
        text = "a man rides a bicycle .\na dog runs .\n" * 8
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 300}
    sizes |= {"steps": 2, "max_position_embeddings": 32}
    out, reporter = tmp_path / "run", Reporter()
    assert not module.main(tmp_path, out, reporter=reporter, **sizes)
    assert "5 beams: BLEU" in capsys.readouterr().out
    assert module.main(tmp_path, out, reporter=reporter, mark=0.0, **sizes)


def test_long_range(capsys):
    assert not load(10).main(steps=2)
    assert "recalled" in capsys.readouterr().out


def test_masked_words(capsys):
    tiny = {
        "tokenizer": "characters",
        "num_hidden_layers": 1,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 16,
        "batch_size": 2,
        "eval_every": 2,
        "validation": 0.01,
    }
    assert not load(12).main(steps=2, **tiny)
    assert "trigrams, both sides" in capsys.readouterr().out


def test_sentence_vectors(minilm):
    pytest.importorskip("transformers", reason="pip install transformers")
    pytest.importorskip("torch", reason="pip install torch")
    assert load(13).main()


def test_translation_emerges():
    module = load(15)
    assert module.english(347) == "EN three hundred and forty seven"
    assert module.german(347) == "DE drei hundert sieben und vierzig"
    assert not module.main(steps=2, tested=5)


def test_spelling(capsys):
    module = load(16)
    made = module.pairs(list(module.WORDS)[:50], 20, np.random.default_rng(0))
    wrongs = [pair["wrong"] for pair in made]
    assert 500 < len(set(wrongs)) == len(wrongs) and not module.COUNTS.keys() & set(wrongs)
    tiny = {"pretraining": 2, "steps": 2, "width": 16, "each": 1, "tested": 20}
    assert not module.main(**tiny)
    shares = re.findall(r"(\d+\.\d)%", capsys.readouterr().out)
    assert float(shares[1]) > 70  # the speller needs no training
    assert module.main(mark=0.0, **tiny)


def test_spelling_answers_are_the_targets(monkeypatch):
    """The loss of a pair counts its word and the end, nothing before."""
    module, found = load(16), []
    monkeypatch.setattr(module, "fit", lambda model, objective, batches, **_: found.append(batches))
    pair = {"wrong": "speling", "right": "spelling"}
    module.taught([pair], 16, 1, 1, np.random.default_rng(0))
    inputs, targets = next(found[1])
    assert module.TOKENIZER.decode(inputs[0].tolist()) == "speling -> spelling"
    counted = targets[0][targets[0] >= 0].tolist()
    assert counted == module.TOKENIZER.encode("spelling") + [
        module.TOKENIZER.special_tokens["<|endoftext|>"]
    ]


def test_sentiment(capsys):
    module, rng = load("17a"), np.random.default_rng(0)
    pairs = [("plot", "great"), ("music", "dull"), ("cast", "cold"), ("pace", "warm")]
    texts, labels = module.reviews(pairs, 400, rng)
    assert labels.mean() == 0.5 and 0 < sum("not" in text for text in texts) < 400
    for text, label in zip(texts, labels, strict=True):
        clause = text.split(" but ")[-1]  # O but S; although O , S; S although O
        clause = clause.split(" , ")[-1] if clause.startswith("although") else clause
        clause = clause.split(" although ")[0].split(" and ")[0].removesuffix(" .").split()
        assert ((clause[-1] in module.GOOD) != ("not" in clause)) == label
        assert any({thing, word} <= set(clause) for thing, word in pairs)
    tiny = {"pretraining": 2, "steps": 2, "plain": 100, "labelled": 40, "tested": 40}
    assert not module.main(**tiny)
    assert "bag of words" in capsys.readouterr().out
    assert module.main(mark=0.0, **tiny)


def test_questions(capsys):
    module, rng = load("17b"), np.random.default_rng(0)
    for _ in range(100):
        text, answers = module.story(module.SENTENCES, rng)
        assert len(text) == module.SENTENCES
        where, holder = {}, {}
        for who, verb, *rest in map(str.split, text):
            (where if verb == "went" else holder)[who if verb == "went" else rest[1]] = (
                rest[2] if verb == "went" else who
            )
        assert answers == where | {thing: where[who] for thing, who in holder.items()}
    inputs, targets = next(module.batches(2, rng, size=4))
    assert ((targets >= 0) == (np.roll(inputs, 1, 1) == module.ASK)).all()
    assert (targets >= 0).sum() == 8
    tiny = {"steps": 2, "tested": 200}
    assert not module.main(**tiny)
    assert "facts 2" in capsys.readouterr().out
    assert module.main(mark=0.0, **tiny)


def test_fewer_labels(tmp_path, capsys):
    needs("minilm")
    path = tmp_path / "sms.tsv"
    path.write_text("label\ttext\n" + "ham\tSee you at home.\nspam\tYou won, call now!\n" * 10)
    load(18).main(path, sizes=(4,), steps=1)
    assert "4 labels: bag of words 100.0%, pretrained " in capsys.readouterr().out


def test_open_model(capsys):
    needs("smollm2")
    assert load(19).main(tasks=load(19).TASKS[:1], tokens=12)
    assert "1 of 1" in capsys.readouterr().out


def test_not_all_are_transformers(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 100)
    load(20).main(text, steps=2, width=16)
    assert capsys.readouterr().out.count("parameters") == 3


def test_digits():
    def load_bars():
        labels = np.arange(200) % 2
        images = np.random.default_rng(0).standard_normal((200, 1, 8, 8)).astype(np.float32) * 0.1
        images[labels == 0, :, 3:5] += 2
        images[labels == 1, :, :, 3:5] += 2
        return images, labels

    assert load(21).main(steps=25, load=load_bars)
    assert not load(21).main(steps=1, mark=1.01, load=load_bars)


def test_labels(capsys):
    needs("smollm2")
    load(24).main(size=2, shots=(1,))
    assert "1 shots" in capsys.readouterr().out
    low, high = load(24).interval(1.0, 16)
    assert 0.8 < low < 0.81 and high == pytest.approx(1)  # 16 / (16 + 1.96^2)


def test_few_shot(capsys):
    assert not load(25).main(steps=2)
    assert "4-shot" in capsys.readouterr().out

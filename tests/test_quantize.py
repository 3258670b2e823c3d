"""tinygrad-llm quantize and import --keep-bits: sizes, scores, what is refused."""

from contextlib import contextmanager

import numpy as np
import pytest

from tests.test_cli import refuse
from tests.test_import import gguf_file, tokenizer  # noqa: F401  (a fixture)
from tests.test_step import model_of
from tinygrad_llm.cli.main import main
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.models import Bert, BertConfig
from tinygrad_llm.nn.quantized import memory_of, named_blocks, num_weights
from tinygrad_llm.recipes.evaluate import evaluate_folder
from tinygrad_llm.recipes.import_ import import_model
from tinygrad_llm.recipes.quantize import quantize_folder
from tinygrad_llm.recipes.reporter import Reporter


@pytest.fixture
def source(tmp_path):
    save_model(tmp_path / "source", model_of("llama", vocab_size=260))
    tokenizer().save(tmp_path / "source")
    return tmp_path / "source"


class Told(Reporter):
    """Keeps for each piece of work its name, its size and how much of it was told of."""

    def __init__(self):
        self.told = []

    @contextmanager
    def progress(self, what, total, unit="B"):
        row = [what, total, 0]
        self.told.append(row)

        def advance(done):
            row[2] += done

        yield advance


@pytest.mark.parametrize("bits", [8, 4])
def test_sizes_and_scores_are_those_of_the_two_folders(bits, source, tmp_path):
    (tmp_path / "text.txt").write_text("low lower low " * 40)
    text = [str(tmp_path / "text.txt")]
    done = quantize_folder(source, tmp_path / "own", bits=bits, data=text, reporter=(r := Told()))
    assert r.told == [["scoring", done.scores[0].tokens, done.scores[0].tokens]] * 2
    first, own = load_model(source), load_model(tmp_path / "own")
    assert (done.before, done.after) == (memory_of(first), memory_of(own))
    assert num_weights(own) == first.num_parameters()
    assert done.scores == (evaluate_folder(source, text), evaluate_folder(tmp_path / "own", text))
    assert 0 < abs(done.scores[0].loss - done.scores[1].loss) < 0.1


def test_the_command_and_what_goes_on_with_its_folder(source, tmp_path, capsys):
    own = str(tmp_path / "own")
    assert main(["quantize", str(source), own, "--bits", "4"]) == 0
    assert "MB of weights became" in capsys.readouterr().out
    assert main(["generate", own, "--prompt", "low", "--max-new-tokens", "3"]) == 0
    again = str(tmp_path / "again")
    assert "is quantized already" in refuse(capsys, 2, "quantize", own, again)
    assert "holds a model already" in refuse(capsys, 2, "quantize", str(source), own)
    assert "invalid choice" in refuse(capsys, 2, "quantize", str(source), again, "--bits", "3")


def test_a_model_that_does_not_write_or_does_not_fit_is_refused(tmp_path, capsys):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=30, intermediate_size=32, **sizes)
    save_model(tmp_path / "bert", Bert(config, rng=np.random.default_rng(0)))
    save_model(tmp_path / "narrow", model_of("gpt", n_embd=24))
    for name, message in (("bert", "holds a Bert"), ("narrow", "no whole blocks of 32")):
        out = tmp_path / "own"
        assert message in refuse(capsys, 2, "quantize", str(tmp_path / name), str(out))
        assert not out.exists()


def test_import_keeps_the_bits_of_a_gguf_file(gguf_file, tmp_path):  # noqa: F811
    wide = import_model(str(gguf_file), tmp_path / "wide").model
    kept = import_model(str(gguf_file), tmp_path / "kept", keep_bits=True).model
    assert next(named_blocks(wide), None) is None and num_weights(kept) == wide.num_parameters()
    assert {blocks.dtype.itemsize for _, blocks in named_blocks(kept)} == {34}
    ids = np.arange(12)[None]
    logits = load_model(tmp_path / "kept")(ids).data
    np.testing.assert_array_equal(logits, kept(ids).data)
    np.testing.assert_allclose(logits, wide(ids).data, atol=1e-5)

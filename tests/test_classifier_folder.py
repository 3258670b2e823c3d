"""A classifier's folder: what we save transformers opens and the other way round, and bad folders
are refused.
"""

import json

import numpy as np
import pytest

from tests.test_classifier_model import MODELS, classifier, texts
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.classifier import load_classifier, save_classifier
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.tensor_files import load_tensors, save_tensors

CASES = [("gpt", None), ("llama", None), ("bert", "cls"), ("bert", "mean")]
PAD = 0


def scores(model):
    ids, lengths = texts()
    with no_grad():
        return model(ids, lengths).data


@pytest.mark.parametrize("kind,pooling", CASES)
def test_what_is_saved_is_loaded(tmp_path, kind, pooling):
    model = classifier(kind, pooling=pooling).eval()
    save_classifier(tmp_path, model, max_tokens=9, pad_id=PAD)
    again, most = load_classifier(tmp_path)
    assert again.labels == model.labels and again.pooling == model.pooling and most == 9
    np.testing.assert_array_equal(scores(again), scores(model))


def theirs(folder):
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids, lengths = texts()
    ids = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, PAD)
    mask = torch.tensor(np.arange(ids.shape[1]) < lengths[:, None]).long()
    with torch.no_grad():
        return model, model(torch.tensor(ids), attention_mask=mask).logits.numpy()


@pytest.mark.parametrize("kind,pooling", CASES[:3])
def test_transformers_opens_it_and_what_it_saves_is_opened(tmp_path, kind, pooling):
    model = classifier(kind, pooling=pooling).eval()
    save_classifier(tmp_path / "a", model, max_tokens=9, pad_id=PAD)
    other, logits = theirs(tmp_path / "a")
    assert other.config.id2label == {0: "ham", 1: "spam", 2: "eggs"}
    np.testing.assert_allclose(logits, scores(model), rtol=0, atol=1e-5)
    other.save_pretrained(tmp_path / "b")
    again, _ = load_classifier(tmp_path / "b")
    assert again.labels == model.labels
    np.testing.assert_allclose(scores(again), scores(model), rtol=0, atol=1e-6)


def test_a_gpt_with_weights_of_its_own_behind_the_last_block_has_none_of_them(tmp_path):
    config = GPTConfig(7, 8, 1, 2, 8, tie_word_embeddings=False)
    model = MODELS["wrap"](GPT(config, rng=np.random.default_rng(0)))
    save_classifier(tmp_path, model, max_tokens=8)
    again, _ = load_classifier(tmp_path)
    assert again.num_parameters() == model.num_parameters()
    assert again.trunk.lm_head is None


def test_bad_folders_are_refused(tmp_path):
    save_model(tmp_path / "gpt", GPT(GPTConfig(7, 8, 1, 2, 8), rng=np.random.default_rng(0)))
    with pytest.raises(InputError, match="without a head that scores labels; make one"):
        load_classifier(tmp_path / "gpt")
    save_classifier(tmp_path / "a", classifier("bert"), max_tokens=9)
    path = tmp_path / "a" / "config.json"
    good = json.loads(path.read_text())
    for changed, message in (
        ({"id2label": {"0": "a", "1": "b"}}, "id2label is .* scores 3 labels"),
        ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "a text of its own"),
        ({"pooling": "last"}, "not pooled by 'last'; there is mean and cls"),
        ({"pooling": "cls"}, "pooler.dense.weight' is missing"),
        ({"problem_type": "multi_label_classification"}, "problem_type is 'multi_label"),
        ({"problem_type": "regression"}, "problem_type is 'regression'"),
        ({"max_tokens": 1000}, "max_tokens is 1000, not from 1 to 12"),
    ):
        path.write_text(json.dumps(good | changed))
        with pytest.raises(InputError, match=message):
            load_classifier(tmp_path / "a")


@pytest.mark.parametrize(
    "name,array,message",
    [
        ("classifier.bias", None, "the tensor 'classifier.bias' is missing"),
        ("classifier.bias", np.zeros(2, np.float32), r"bias has the shape \(2,\), but \(3,\)"),
        ("classifier.weight", np.zeros((), np.float32), "scores no choice of labels"),
        ("classifier.weight", np.zeros((1, 8), np.float32), "scores no choice of labels"),
        ("classifier.weight", np.zeros((3, 8), np.int64), "is int64, but weights are floating"),
        ("classifier.weight", np.full((3, 8), 1e300), "holds numbers too large for float32"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(tmp_path, name, array, message):
    save_classifier(tmp_path, classifier("bert"), max_tokens=9)
    tensors, _ = load_tensors(tmp_path / "model.safetensors")
    del tensors[name]
    save_tensors(tmp_path / "model.safetensors", tensors | ({} if array is None else {name: array}))
    with pytest.raises(InputError, match=message):
        load_classifier(tmp_path)

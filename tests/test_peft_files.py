"""Adapters beside PEFT, in both directions, and what their files may not ask for."""

import json

import numpy as np
import pytest

from tests.test_lora import EVERYWHERE, FAMILIES, IDS, adapted, base, outputs
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.lora import lora_layers
from tinygrad_llm.finetuning.peft_files import CONFIG, WEIGHTS, load_adapter, save_adapter
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.models.bert import Bert
from tinygrad_llm.tensor_files import load_tensors, save_tensors

# PEFT asks transformers for a name that transformers has given up
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
CLASSES = {
    "llama": "LlamaForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "bert": "BertForMaskedLM",
}
REFUSED = {
    "peft_type": "LOHA",
    "use_dora": True,
    "use_rslora": True,
    "bias": "all",
    "modules_to_save": ["lm_head"],
    "rank_pattern": {"q_proj": 4},
    "alpha_pattern": {"q_proj": 4},
    "layers_to_transform": [0],
    "exclude_modules": ["k_proj"],
    "init_lora_weights": "pissa",
    "a_key_of_the_future": 1,
    "target_modules": "all-linear",
    "r": "8",
    "lora_alpha": None,
    "lora_dropout": 10**400,
}


@pytest.fixture(params=FAMILIES)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def libraries():
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    peft = pytest.importorskip("peft", reason="pip install --no-deps peft")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return torch, transformers, peft


def theirs(libraries, folder, kind):
    torch, transformers, _ = libraries
    torch.manual_seed(1)
    return getattr(transformers, CLASSES[kind]).from_pretrained(folder).eval()


def their_outputs(torch, model):
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits.numpy()


@pytest.mark.parametrize("everywhere", [False, True])
def test_peft_opens_ours(libraries, tmp_path, kind, everywhere):
    torch, _, peft = libraries
    save_model(tmp_path / "base", base(kind))
    model = adapted(kind, EVERYWHERE[kind] if everywhere else None, rank=4, alpha=6.0)
    save_adapter(tmp_path / "adapter", model, base=str(tmp_path / "base"))
    other = theirs(libraries, tmp_path / "base", kind)
    plain = their_outputs(torch, other)
    other = peft.PeftModel.from_pretrained(other, tmp_path / "adapter").eval()
    assert np.abs(their_outputs(torch, other) - plain).max() > 1e-2
    np.testing.assert_allclose(their_outputs(torch, other), outputs(model), rtol=0, atol=1e-4)


@pytest.mark.parametrize("everywhere", [False, True])
def test_we_open_pefts(libraries, tmp_path, kind, everywhere):
    """Those of its defaults, and with names of its own choice; its random B in place of zeros."""
    torch, _, peft = libraries
    save_model(tmp_path / "base", base(kind))
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        lora_dropout=0.1,
        target_modules=list(EVERYWHERE[kind]) if everywhere else None,
        fan_in_fan_out=kind == "gpt2",
        init_lora_weights=False,
    )
    other = peft.get_peft_model(theirs(libraries, tmp_path / "base", kind), config).eval()
    other.save_pretrained(tmp_path / "adapter")
    model = load_model(tmp_path / "base")
    plain = outputs(model)
    load_adapter(tmp_path / "adapter", model)
    assert np.abs(outputs(model) - plain).max() > 1e-2
    np.testing.assert_allclose(outputs(model), their_outputs(torch, other), rtol=0, atol=1e-4)


def test_gradients_are_pefts(libraries, tmp_path, kind):
    torch, _, peft = libraries
    save_model(tmp_path / "base", base(kind))
    model = adapted(kind, EVERYWHERE[kind])
    save_adapter(tmp_path / "adapter", model)
    other = theirs(libraries, tmp_path / "base", kind)
    other = peft.PeftModel.from_pretrained(other, tmp_path / "adapter", is_trainable=True).eval()
    weights = np.random.default_rng(7).standard_normal((*IDS.shape, 31)).astype(np.float32)
    (model(IDS) * weights).sum().backward()
    (other(torch.tensor(IDS)).logits * torch.tensor(weights)).sum().backward()
    grads = {n: p.grad.numpy() for n, p in other.named_parameters() if p.grad is not None}
    adapters = [a for _, layer in lora_layers(model) for a in layer.adapters]
    assert len(grads) == 2 * len(adapters)
    for a in adapters:
        for part in ("lora_A", "lora_B"):
            (name,) = (n for n in grads if f".{a.name}.{part}." in n)
            mine, scale = getattr(a, part).grad, np.abs(grads[name]).max()
            np.testing.assert_allclose(mine, grads[name], rtol=0, atol=1e-4 * scale)


def test_a_bare_bert_has_names_without_prefix(libraries, tmp_path):
    _, transformers, peft = libraries
    model = Bert(FAMILIES["bert"][1], rng=np.random.default_rng(1)).eval()
    save_model(tmp_path / "base", model)
    other = transformers.BertModel.from_pretrained(tmp_path / "base")
    peft.get_peft_model(other, peft.LoraConfig(init_lora_weights=False)).save_pretrained(
        tmp_path / "theirs"
    )
    load_adapter(tmp_path / "theirs", model)
    save_adapter(tmp_path / "ours", model)
    names = [load_tensors(tmp_path / who / WEIGHTS)[0].keys() for who in ("theirs", "ours")]
    assert names[0] == names[1]


def test_saved_and_loaded_is_the_same(tmp_path, kind):
    model = adapted(kind, EVERYWHERE[kind][:2], rank=3, alpha=7.0, dropout=0.25)
    save_adapter(tmp_path, model)
    other = base(kind)
    parameters = load_adapter(tmp_path, other, rng=np.random.default_rng(1))
    assert np.array_equal(outputs(other), outputs(model))
    layer = next(layer for _, layer in lora_layers(other))
    assert (layer.dropout, layer.scale, layer.training) == (0.25, 7 / 3, False)
    assert all(p.requires_grad for p in parameters)


def test_targets_that_share_an_end_are_written_in_full(tmp_path):
    """GPT-2's two c_proj: one of them alone must not become both."""
    model = adapted("gpt2", ("mlp.c_proj",))
    save_adapter(tmp_path, model)
    document = json.loads((tmp_path / CONFIG).read_text())
    assert document["target_modules"] == ["h.0.mlp.c_proj", "h.1.mlp.c_proj"]
    other = base("gpt2")
    load_adapter(tmp_path, other)
    assert np.array_equal(outputs(other), outputs(model))


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_not_implemented_is_refused_by_name(tmp_path, key):
    save_adapter(tmp_path, adapted("llama"))
    document = json.loads((tmp_path / CONFIG).read_text()) | {key: REFUSED[key]}
    (tmp_path / CONFIG).write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"{CONFIG}: {key} is "):
        load_adapter(tmp_path, base("llama"))


def test_a_rank_that_no_tensor_has_takes_no_memory(tmp_path):
    save_adapter(tmp_path, adapted("llama"))
    document = json.loads((tmp_path / CONFIG).read_text()) | {"r": 10**9}
    (tmp_path / CONFIG).write_text(json.dumps(document))
    with pytest.raises(InputError, match="r is 1000000000, but no tensor of .* is so large"):
        load_adapter(tmp_path, base("llama"))


def test_tensors_that_do_not_fit(tmp_path):
    save_adapter(tmp_path, adapted("llama"))
    whole, _ = load_tensors(tmp_path / WEIGHTS)
    name = min(whole)
    changed = {
        "is missing": {n: a for n, a in whole.items() if n != name},
        "has no place": whole | {"base_model.model.extra.lora_A.weight": np.zeros(3, np.float32)},
        "too large for float32": whole | {name: np.full(whole[name].shape, 1e300)},
        "but here float": whole | {name: np.zeros((2, 2), np.float32)},
    }
    for message, tensors in changed.items():
        save_tensors(tmp_path / WEIGHTS, tensors)
        model = base("llama")
        with pytest.raises(InputError, match=f"{WEIGHTS}: .*{message}"):
            load_adapter(tmp_path, model)
        assert not list(lora_layers(model))
    with pytest.raises(InputError, match="no adapters"):
        save_adapter(tmp_path, base("llama"))

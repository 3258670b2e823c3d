"""Folders of the transformer beside transformers' Marian, in both directions."""

import dataclasses
import json

import numpy as np
import pytest

from tests.test_encoder_decoder import LABELS, SMALL, SOURCE, TARGET, small_model
from tests.test_llama_folder import transformers  # noqa: F401
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.formats.marian import from_config, to_config
from tinygrad_llm.models.encoder_decoder import EncoderDecoder
from tinygrad_llm.training.objectives import next_target_token


def theirs_on(model, torch, **more):
    return model(
        input_ids=torch.tensor(SOURCE),
        attention_mask=torch.tensor((SOURCE != 0).astype(int)),
        decoder_input_ids=torch.tensor(TARGET),
        **more,
    )


@pytest.mark.parametrize(
    "activation, pre_norm", [("relu", False), ("swish", False), ("gelu", False), ("relu", True)]
)
def test_loss_logits_and_gradients_are_those_of_transformers(
    activation, pre_norm, transformers, tmp_path  # noqa: F811
):
    import torch

    ours = small_model(activation_function=activation, pre_norm=pre_norm)
    save_model(tmp_path, ours)
    kind = transformers.AutoModelForSeq2SeqLM
    theirs, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    name = "PegasusForConditionalGeneration" if pre_norm else "MarianMTModel"
    missing = [
        key for key in report["missing_keys"] if "embed_positions" not in key
    ]  # it has waves
    assert type(theirs).__name__ == name and not missing and not report["unexpected_keys"]
    found = theirs_on(theirs.eval(), torch, labels=torch.tensor(LABELS))
    np.testing.assert_allclose(ours(SOURCE, TARGET).data, found.logits.detach(), atol=1e-5)
    found.loss.backward()
    loss = next_target_token(ours, SOURCE, TARGET, LABELS)
    (loss.total * (1 / loss.tokens)).backward()
    shared = theirs.model.shared.weight.grad.numpy()[1:]  # Marian gives the row of padding none
    np.testing.assert_allclose(ours.shared.weight.grad[1:], shared, atol=1e-5)
    layer = theirs.model.decoder.layers[1]
    for name, (a, b) in {
        "k": (
            ours.decoder[1].encoder_attn.in_proj.weight.grad[24:48],
            layer.encoder_attn.k_proj.weight.grad,
        ),
        "fc2": (ours.decoder[1].feed_forward.fc2.weight.grad, layer.fc2.weight.grad),
    }.items():
        np.testing.assert_allclose(a, b, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_we_read_what_transformers_saves(pre_norm, transformers, tmp_path):  # noqa: F811
    import torch

    given = dataclasses.asdict(SMALL) | {"activation_dropout": 0.0, "init_std": 0.2}
    del given["pre_norm"]
    if pre_norm:
        config = transformers.PegasusConfig(**given)
        theirs = transformers.PegasusForConditionalGeneration(config).eval()
    else:
        theirs = transformers.MarianMTModel(transformers.MarianConfig(**given)).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    wanted = dataclasses.replace(SMALL, pre_norm=pre_norm)
    assert type(ours) is EncoderDecoder and ours.config == wanted
    logits = theirs_on(theirs, torch).logits.detach()
    np.testing.assert_allclose(ours(SOURCE, TARGET).data, logits, atol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_folder_gives_the_model_back(pre_norm, tmp_path):
    model = small_model(pre_norm=pre_norm)
    save_model(tmp_path, model)
    assert np.array_equal(load_model(tmp_path)(SOURCE, TARGET).data, model(SOURCE, TARGET).data)


@pytest.mark.parametrize("zero", [0, 0.0])
def test_a_probability_of_zero_may_be_written_as_a_whole_number(zero):
    keys = ("activation_dropout", "encoder_layerdrop", "decoder_layerdrop", "dropout")
    assert from_config(to_config(SMALL) | dict.fromkeys(keys, zero)) == SMALL
    for other in (0.1, False, None, "0"):
        with pytest.raises(InputError, match="activation_dropout"):
            from_config(to_config(SMALL) | {"activation_dropout": other})


@pytest.mark.parametrize(
    "key, value",
    [
        ("normalize_before", True),
        ("normalize_before", 0),
        ("static_position_embeddings", False),
        ("share_encoder_decoder_embeddings", False),
        ("decoder_vocab_size", 30),
        ("pad_token_id", 31),
        ("eos_token_id", 31),
        ("decoder_start_token_id", 31),
        ("activation_function", "tanh"),
        ("d_model", 48),
        ("encoder_layers", 1 << 40),
    ],
)
def test_another_model_is_refused(key, value, tmp_path):
    save_model(tmp_path, small_model())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InputError):
        load_model(tmp_path)

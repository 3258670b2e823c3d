"""generation_config.json: what it means to us is what it means to transformers."""

import json

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.generation_config import (
    GenerationConfig,
    from_document,
    load_generation_config,
    save_generation_config,
    to_document,
)

CONFIGS = [
    GenerationConfig(),
    GenerationConfig(max_new_tokens=7, temperature=0.8, top_k=50, top_p=0.9, eos_token_id=0),
    GenerationConfig(temperature=0.0, repetition_penalty=1.2, eos_token_id=(3, 5)),
    GenerationConfig(num_beams=4, length_penalty=0.5, stop_strings=("\n", "END")),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_saved_file_comes_back(config, tmp_path):
    save_generation_config(tmp_path, config)
    assert load_generation_config(tmp_path) == config


@pytest.mark.parametrize("config", CONFIGS)
def test_transformers_reads_the_file_in_the_same_sense(config, tmp_path):
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    save_generation_config(tmp_path, config)
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path)
    theirs.validate(strict=True)
    assert theirs.do_sample == (config.temperature > 0 and config.num_beams == 1)
    for name in ("max_new_tokens", "num_beams", "length_penalty", "repetition_penalty"):
        assert getattr(theirs, name) == getattr(config, name)
    if theirs.do_sample:
        assert (theirs.temperature, theirs.top_k, theirs.top_p) == (
            config.temperature,
            config.top_k,
            config.top_p,
        )
    ends = [] if theirs.eos_token_id is None else np.ravel(theirs.eos_token_id).tolist()
    assert tuple(ends) == config.eos_ids
    theirs.save_pretrained(tmp_path / "again")
    assert load_generation_config(tmp_path / "again") == config


def test_a_folder_without_the_file_means_the_defaults(tmp_path):
    assert load_generation_config(tmp_path) == GenerationConfig()


def test_without_the_file_the_end_is_the_one_of_the_models_own_file(tmp_path):
    path = tmp_path / "config.json"
    for ends, read in ((7, 7), ([7, 9], (7, 9)), (None, None)):
        path.write_text(json.dumps({"eos_token_id": ends, "temperature": 0.5}))
        assert load_generation_config(tmp_path) == GenerationConfig(eos_token_id=read)
    path.write_text(json.dumps({"eos_token_id": 7, "is_encoder_decoder": True}))
    assert load_generation_config(tmp_path) == GenerationConfig()
    for ends in ("7", -1, [True], {"id": 7}):
        path.write_text(json.dumps({"eos_token_id": ends}))
        with pytest.raises(InputError, match="config.json: eos_token_id is"):
            load_generation_config(tmp_path)
    save_generation_config(tmp_path, GenerationConfig())
    assert load_generation_config(tmp_path) == GenerationConfig()


def test_gpt2s_own_file_is_greedy():
    document = {
        "_from_model_config": True,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "transformers_version": "4.26.0.dev0",
    }
    assert from_document(document) == GenerationConfig(temperature=0.0, eos_token_id=50256)


def test_what_a_missing_key_means_to_transformers_it_means_here():
    assert from_document({"do_sample": True}).top_k == 50
    assert from_document({"do_sample": True, "top_k": None}).top_k == 50
    assert from_document({"temperature": 0.6}).temperature == 0
    assert from_document({"stop_strings": "END"}).stop_strings == ("END",)
    assert from_document({"no_repeat_ngram_size": None, "token_healing": False}).temperature == 0


@pytest.mark.parametrize(
    "document, message",
    [
        ({"do_sample": True, "num_beams": 2}, "do_sample with num_beams"),
        ({"no_repeat_ngram_size": 3}, "'no_repeat_ngram_size'"),
        ({"min_p": 0.1, "do_sample": True}, "'min_p'"),
        ({"top_k": "5", "do_sample": True}, "top_k"),
        ({"eos_token_id": "x"}, "eos_token_id"),
        ({"eos_token_id": [1, None]}, "eos_token_id"),
        ({"eos_token_id": -1}, "eos_token_id"),
        ({"stop_strings": [3, ""]}, "stop_strings"),
        ({"num_beams": [2]}, "num_beams"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ([], "object"),
    ],
)
def test_a_file_that_asks_for_something_else_is_refused_by_name(document, message, tmp_path):
    (tmp_path / "generation_config.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"generation_config.json.*{message}"):
        load_generation_config(tmp_path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 2.5),
        ("num_beams", 0),
        ("num_beams", True),
        ("length_penalty", 11),
        ("length_penalty", float("nan")),
        ("temperature", -1),
        ("top_k", -1),
        ("top_p", 0),
        ("top_p", 1.5),
        ("repetition_penalty", 0),
        ("eos_token_id", -5),
        ("eos_token_id", "x"),
        ("stop_strings", "END"),
        ("stop_strings", ("",)),
        ("stop_strings", (3,)),
    ],
)
def test_a_value_outside_its_range_is_named(name, value):
    with pytest.raises(InputError, match=f"{name} is "):
        GenerationConfig(**{name: value})


def test_mutated_files_open_or_give_the_one_error(tmp_path):
    path, rng, opened = tmp_path / "generation_config.json", np.random.default_rng(0), 0
    whole = json.dumps(to_document(CONFIGS[1])).encode()
    for _ in range(300):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.choice(list(b'0123456789-.{}[]",:etrufalsn'))
        path.write_bytes(data)
        try:
            load_generation_config(tmp_path)
            opened += 1
        except InputError as error:
            assert "generation_config.json" in str(error)
    assert 10 < opened < 290

"""Damaged files of every kind: the documented error or a model, in 2 seconds and 200 MB each.

pytest --mutations 10000 opens so many of each kind.
"""

import functools
import itertools
import json
import resource
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests import test_gguf_llama
from tests.gguf_files import ARRAY, STRING
from tests.test_classifier_model import classifier
from tests.test_gguf_tokenizer import METADATA
from tests.test_lora import adapted, base
from tests.test_sentence_config import write as write_sentence_files
from tinygrad_llm.errors import InputError
from tinygrad_llm.finetuning.instructions import read_records
from tinygrad_llm.finetuning.labelled import read_labelled
from tinygrad_llm.finetuning.lora import remove_lora
from tinygrad_llm.finetuning.peft_files import CONFIG, WEIGHTS, load_adapter, save_adapter
from tinygrad_llm.formats.classifier import load_classifier, save_classifier
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.formats.gguf import open_gguf
from tinygrad_llm.formats.gguf_llama import load_llama
from tinygrad_llm.formats.gguf_tokenizer import tokenizer_contents
from tinygrad_llm.inference.generation_config import (
    GenerationConfig,
    load_generation_config,
    save_generation_config,
)
from tinygrad_llm.inference.sentence_config import MODULES, POOLING, load_sentence_config
from tinygrad_llm.models import GPT, BertConfig, BertForMaskedLM, GPTConfig
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.nn.quantized import quantize

SECONDS, BYTES = 2.0, 200 << 20
LONGEST = 600  # characters of an error: it is one line, whatever the file holds
HOSTILE = [
    *(0, -1, 1, 2**31, 2**32 - 1, 2**63, -(2**63), 10**400, 1e308, float("1e999"), 0.5, True, None),
    "x" * 10_000,
    *("", "x", "../x", "\ud800", "\x00", "default", [], {}, [[]], {"rope_theta": None}, [1] * 1000),
]
NUMBERS = [0, 1, 2**31 - 1, 2**32 - 1, 2**56, 2**63 - 1, 2**63, 2**64 - 1]
JSON_BYTES = b'0123456789-.eE{}[]",:\\tfn'


@contextmanager
def memory_limit():
    """Inside this block an allocation that needs more than BYTES fails with a MemoryError."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def mutate_bytes(data, rng, alphabet=range(256)):
    """A few changes: a byte, a number, a piece cut out, doubled, or the end."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        # The headers of these files are their first few thousand bytes.
        place = int(rng.integers(min(len(data), 8000) if rng.random() < 0.8 else len(data)) or 0)
        kind, length = rng.integers(6), int(rng.integers(1, 40))
        if kind <= 1:
            data[place : place + 1] = bytes([rng.choice(alphabet)])
        elif kind == 2:
            data[place : place + 8] = int(rng.choice(np.array(NUMBERS, np.uint64))).to_bytes(
                8, "little"
            )
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        else:
            del data[max(place, 1) :]
        data = data or bytearray(1)
    return bytes(data)


def mutate_json(data, rng):
    """A value anywhere in the document is another one, a key is gone or new; or bytes change."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng, list(JSON_BYTES))
    document = json.loads(data)
    for _ in range(rng.integers(1, 3)):
        inner = [v for v in document.values() if isinstance(v, dict) and v]
        target = inner[rng.integers(len(inner))] if inner and rng.random() < 0.7 else document
        key = list(target)[rng.integers(len(target))] if target else "new"
        if rng.random() < 0.2:
            target.pop(key, None)
        else:
            target[key if rng.random() < 0.9 else "new"] = HOSTILE[rng.integers(len(HOSTILE))]
    return json.dumps(document).replace("Infinity", "1e999").encode()


def open_all(path, whole, mutate, load, count, *, opens=True):
    """Open `count` mutants of a file; only InputError may come out, and some must open."""
    rng, opened = np.random.default_rng(0), 0
    load()
    for _ in range(count):
        path.write_bytes(mutate(whole, rng))
        start = time.process_time()
        try:
            with memory_limit():
                load()
            opened += 1
        except InputError as error:
            assert 0 < len(str(error)) < LONGEST, str(error)
        assert time.process_time() - start < SECONDS
    path.write_bytes(whole)
    assert opened < count * 0.9 and (opened > 0 or not opens)


@pytest.fixture
def count(pytestconfig):
    return pytestconfig.getoption("--mutations")


def models():
    rng = np.random.default_rng(0)
    sizes = {"vocab_size": 31, "hidden_size": 16, "num_hidden_layers": 1}
    bert = BertConfig(**sizes, num_attention_heads=2, intermediate_size=24)
    gpt = GPTConfig(vocab_size=31, n_positions=8, n_layer=1, n_head=2, n_embd=16)
    llama = test_gguf_llama.random_model(num_hidden_layers=1)
    marian = EncoderDecoderConfig(31, 16, 1, 1, 2, 2, 24, 24)
    blocks = test_gguf_llama.random_model(num_hidden_layers=1)
    return {
        "gpt2": GPT(gpt, rng=rng),
        "llama": llama,
        "bert": BertForMaskedLM(bert, rng=rng),
        "marian": EncoderDecoder(marian, rng=rng),
        "blocks": quantize(blocks, "Q4_1"),
    }


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert", "marian", "blocks"])
def test_config(kind, tmp_path, count):
    save_model(tmp_path, models()[kind])
    path = tmp_path / "config.json"
    open_all(path, path.read_bytes(), mutate_json, lambda: load_model(tmp_path), count)


def test_generation_config(tmp_path, count):
    config = GenerationConfig(temperature=0.5, top_k=5, eos_token_id=(1, 2), stop_strings=("x",))
    save_generation_config(tmp_path, config)
    path = tmp_path / "generation_config.json"
    load = functools.partial(load_generation_config, tmp_path)
    open_all(path, path.read_bytes(), mutate_json, load, count)


def test_safetensors(tmp_path, count):
    save_model(tmp_path, models()["llama"])
    path = tmp_path / "model.safetensors"
    open_all(path, path.read_bytes(), mutate_bytes, lambda: load_model(tmp_path), count)


def test_index(tmp_path, count):
    save_model(tmp_path, models()["llama"], max_shard_bytes=20_000)
    path = tmp_path / "model.safetensors.index.json"
    open_all(path, path.read_bytes(), mutate_json, lambda: load_model(tmp_path), count)


@pytest.mark.parametrize(
    "name,mutate", [("config.json", mutate_json), ("model.safetensors", mutate_bytes)]
)
def test_classifier(name, mutate, tmp_path, count):
    save_classifier(tmp_path, classifier("bert"), max_tokens=9)
    path = tmp_path / name
    open_all(path, path.read_bytes(), mutate, lambda: load_classifier(tmp_path), count)


@pytest.mark.parametrize("name,mutate", [(MODULES, mutate_bytes), (POOLING, mutate_json)])
def test_sentence_config(name, mutate, tmp_path, count):
    write_sentence_files(tmp_path, {"pooling_mode_mean_tokens": True}, max_seq_length=9)
    path = tmp_path / name
    open_all(path, path.read_bytes(), mutate, lambda: load_sentence_config(tmp_path), count)


@pytest.mark.parametrize("name,mutate", [(CONFIG, mutate_json), (WEIGHTS, mutate_bytes)])
def test_adapter(name, mutate, tmp_path, count):
    save_adapter(tmp_path, adapted("llama"))
    path, model = tmp_path / name, base("llama")

    def load():
        load_adapter(tmp_path, model)
        remove_lora(model)

    open_all(path, path.read_bytes(), mutate, load, count)


EXAMPLES = {
    "a.csv": (read_labelled, "text,label\n" + '"say ""a"", b",x\nc,y\n' * 3),
    "a.jsonl": (read_labelled, '{"text": "a", "label": "x"}\n{"text": "b", "label": 2}\n'),
    "a.json": (read_records, '[{"instruction": "a", "output": "b"}]'),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name, tmp_path, count):
    (read, content), path = EXAMPLES[name], tmp_path / name
    path.write_text(content)
    mutate = functools.partial(mutate_bytes, alphabet=list(JSON_BYTES))
    open_all(path, content.encode(), mutate, lambda: read(path), count, opens=False)


def gguf_with_tokenizer(tmp_path):
    keys = {}
    for name, value in METADATA.items():
        if isinstance(value, list):
            keys[name] = (ARRAY, value, STRING)
        elif isinstance(value, np.ndarray):
            keys[name] = (ARRAY, value.tolist(), 5)
        else:
            keys[name] = ({str: STRING, bool: 7, int: 4}[type(value)], value)
    return test_gguf_llama.write(tmp_path, test_gguf_llama.random_model(), "Q8_0", **keys)


def test_gguf(tmp_path, count):
    path = gguf_with_tokenizer(tmp_path)

    def load():
        with open_gguf(path) as file:
            load_llama(file)
            tokenizer_contents(file.metadata)

    open_all(path, path.read_bytes(), mutate_bytes, load, count)


def test_a_mutant_is_seldom_the_file_itself(tmp_path):
    whole = gguf_with_tokenizer(tmp_path).read_bytes()
    rng = np.random.default_rng(0)
    mutants = [mutate_bytes(whole, rng) for _ in range(100)]
    assert sum(a == b for a, b in itertools.pairwise([whole, *mutants])) < 5

"""The tokenizer in GGUF's metadata, beside HF tokenizers with the same vocabulary."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.gguf_tokenizer import eos_id, tokenizer_contents
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.byte_alphabet import BYTE_ORDER, spell

MERGES = ["t h", "th e", "Ġ the", "i n", "Ġ a", "1 2"]
TOKENS = ["<|end|>", *(spell(bytes([byte])) for byte in BYTE_ORDER)]
TOKENS += [merge.replace(" ", "") for merge in MERGES]
TYPES = np.array([3] + [1] * (len(TOKENS) - 1), np.int32)
METADATA = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": TYPES,
    "tokenizer.ggml.merges": MERGES,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.eos_token_id": 0,
}


def changed(**keys):
    return METADATA | {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def test_ids_are_those_of_hf_tokenizers():
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    vocabulary = {token: index for index, token in enumerate(TOKENS)}
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    ours = BPETokenizer(tokenizer_contents(METADATA))
    for text in ("the theory in a bath", "  then, in 2012 é\n", ""):
        assert ours.encode(text) == theirs.encode(text).ids
    assert ours.encode("in<|end|>", allowed_special="all") == [vocabulary["in"], 0]
    assert (
        eos_id(METADATA) == 0 and eos_id({}) is None and eos_id(changed(eos_token_id="0")) is None
    )


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": "llama"}, "tokenizer.ggml.model is 'llama'"),
        ({"model": None}, "tokenizer.ggml.model is None"),
        ({"pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2'"),
        ({"pre": ["gpt-2"]}, r"tokenizer.ggml.pre is \['gpt-2'\]"),
        ({"add_bos_token": True}, "add_bos_token is true"),
        ({"tokens": "abc"}, "tokenizer.ggml.tokens is not a list"),
        ({"tokens": TYPES}, "tokenizer.ggml.tokens is not a list"),
        ({"merges": None}, "tokenizer.ggml.merges is not a list"),
        ({"merges": ["t h e"]}, "joins two tokens"),
        ({"merges": ["t x!"]}, "'x!', which is no ordinary token"),
        ({"token_type": TYPES[1:]}, "does not give 263 types"),
        ({"token_type": None}, "does not give 263 types"),
        ({"token_type": np.where(TYPES == 3, 6, TYPES)}, r"'<\|end\|>' has the type 6"),
        ({"tokens": [*TOKENS[:-1], "a"]}, "'a' stands there twice"),
        ({"tokens": [*TOKENS[:-1], "日"]}, "stands for no byte"),
    ],
    ids=str,
)
def test_another_tokenizer_is_refused_by_the_key(change, message):
    with pytest.raises(InputError, match=message):
        tokenizer_contents(changed(**change))

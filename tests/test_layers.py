"""What every model reads: ids (B, T), however they are held."""

import numpy as np
import pytest

from tinygrad_llm.models.bert import Bert, BertConfig, BertForMaskedLM
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.models.llama import Llama, LlamaConfig
from tinygrad_llm.nn.layers import token_ids
from tinygrad_llm.tensor import Tensor

OTHERS = {
    "vocab_size": 7,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 4,
}
GPTS = {"vocab_size": 7, "n_positions": 4, "n_layer": 1, "n_head": 2, "n_embd": 8}
MODELS = {
    "GPT": (GPT, GPTConfig(**GPTS)),
    "Llama": (Llama, LlamaConfig(num_key_value_heads=1, **OTHERS)),
    "Bert": (Bert, BertConfig(**OTHERS)),
    "BertForMaskedLM": (BertForMaskedLM, BertConfig(**OTHERS)),
}


@pytest.mark.parametrize("kind, config", MODELS.values(), ids=MODELS)
def test_a_model_reads_lists_arrays_and_tensors_and_names_another_shape(kind, config):
    model, ids = kind(config, rng=np.random.default_rng(0)).eval(), [[1, 2, 3], [4, 5, 6]]
    expected = model(np.array(ids)).data
    for same in (ids, Tensor(ids), tuple(map(tuple, ids))):
        np.testing.assert_array_equal(model(same).data, expected)
    for one_text in ([1, 2], np.array([1, 2]), Tensor([1, 2])):
        with pytest.raises(ValueError, match=r"ids of shape \(2,\); a model reads \(B, T\).*\[ids"):
            model(one_text)
    with pytest.raises(ValueError, match="5 tokens are more than the model's context of 4"):
        model([[1, 2, 3, 4, 5]])


def test_the_tokens_before_count():
    assert token_ids([[1]], context=4, past=3).shape == (1, 1)
    with pytest.raises(ValueError, match="5 tokens are more than the model's context of 4"):
        token_ids([[1]], context=4, past=4)

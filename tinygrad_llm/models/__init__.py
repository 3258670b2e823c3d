"""Models: one paper, one file."""

from tinygrad_llm.models.bert import Bert, BertConfig, BertForMaskedLM
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.models.llama import Llama, LlamaConfig

__all__ = [
    "GPT",
    "Bert",
    "BertConfig",
    "BertForMaskedLM",
    "EncoderDecoder",
    "EncoderDecoderConfig",
    "GPTConfig",
    "Llama",
    "LlamaConfig",
]

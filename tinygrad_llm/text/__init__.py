"""Tokenizers: text to ids and back, as bytes, characters or byte pairs. This room knows no Tensor.

Read byte_level.py, characters.py, bpe_training.py (learning) and bpe.py (applying), in that order.
"""

from __future__ import annotations

from pathlib import Path

from tinygrad_llm.text import tokenizer_json
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.byte_level import ByteTokenizer
from tinygrad_llm.text.characters import CharTokenizer
from tinygrad_llm.text.streams import chunks
from tinygrad_llm.text.tokenizer import StreamDecoder, Tokenizer, token_lengths

__all__ = [
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "StreamDecoder",
    "Tokenizer",
    "chunks",
    "load_tokenizer",
    "token_lengths",
]

_CLASSES = {cls.kind: cls for cls in (BPETokenizer, ByteTokenizer, CharTokenizer)}


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in the tokenizer.json `path` or in the folder `path`, of the class that fits.

    InputError for a file that is missing or malformed, or asks for a step that is not implemented.
    """
    contents = tokenizer_json.read(path)
    return _CLASSES[contents.kind].from_contents(contents)

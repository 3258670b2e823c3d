"""Tokenizers: text to ids and back, as bytes, characters or byte pairs. This room knows no Tensor.

Read byte_level.py, characters.py, bpe_training.py (learning), bpe.py (applying) and wordpiece.py,
in that order; compiled.py is the way to the compiled twins.
"""

from __future__ import annotations

from pathlib import Path

from tinygrad_llm.text import tokenizer_json
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.byte_level import ByteTokenizer
from tinygrad_llm.text.characters import CharTokenizer
from tinygrad_llm.text.streams import chunks
from tinygrad_llm.text.tokenizer import StreamDecoder, Tokenizer, token_lengths
from tinygrad_llm.text.wordpiece import WordPieceTokenizer

__all__ = [
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "StreamDecoder",
    "Tokenizer",
    "WordPieceTokenizer",
    "chunks",
    "load_tokenizer",
    "token_lengths",
]

_ALL = BPETokenizer, ByteTokenizer, CharTokenizer, WordPieceTokenizer
_CLASSES = {cls.kind: cls for cls in _ALL}


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in the tokenizer.json `path` or in the folder `path`, of the class that fits.

    InputError for a file that is missing or malformed, or asks for a step that is not implemented.
    """
    contents = tokenizer_json.read(path)
    return _CLASSES[contents.kind].from_contents(contents)

"""Split patterns: a regular expression cuts text into pieces, and no token reaches across two.

`gpt2` is Radford et al. (2019), encoder.py; `smollm` the same after every digit was cut off, as
SmolLM's tokenizer.json asks; `llama3` the tokenizer.json of Llama 3; `cl100k` GPT-4's in tiktoken,
with (?![\\s\\S]) for the end and {1,3} for {1,3}+, which mean the same to every engine.
They speak of Unicode categories (letters \\p{L}, numbers \\p{N}), which Python's `re` does not
know, so the package `regex` runs them; kernels/pieces.py is their compiled twin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from tinygrad_llm.errors import suggest

PATTERNS = {
    "gpt2": r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    "smollm": r"""'s|'t|'re|'ve|'m|'ll|'d|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})"""
    r"""|\s+(?!\S)|\s+""",
    "llama3": r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s""",
}


@cache
def splitter(name: str) -> Callable[[str], list[str]]:
    """The function that cuts a text by the pattern `name` into pieces, which joined are the text.

    >>> splitter("gpt2")("It's  so, 2 of us")
    ['It', "'s", ' ', ' so', ',', ' 2', ' of', ' us']
    """
    if name not in PATTERNS:
        raise suggest(name, PATTERNS, "split pattern")
    import regex

    return regex.compile(PATTERNS[name]).findall

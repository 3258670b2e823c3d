"""Split patterns: a regular expression cuts text into pieces, and no token reaches across two.

`gpt2` is Radford et al. (2019), encoder.py; `smollm` the same after every digit was cut off, as
SmolLM's tokenizer.json asks; `llama3` the tokenizer.json of Llama 3; `cl100k` GPT-4's in tiktoken,
with (?![\\s\\S]) for the end and {1,3} for {1,3}+, which mean the same to every engine.
They speak of Unicode categories (letters \\p{L}, numbers \\p{N}), which Python's `re` does not
know, so the package `regex` runs them, with the classes of unicode_classes.py; kernels/pieces.py is
their compiled twin.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from itertools import accumulate, pairwise
from typing import Any

from tinygrad_llm.errors import InputError, suggest
from tinygrad_llm.text.unicode_classes import stand_ins

PATTERNS = {
    "gpt2": r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    "smollm": r"""'s|'t|'re|'ve|'m|'ll|'d|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})"""
    r"""|\s+(?!\S)|\s+""",
    "llama3": r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s""",
}


# Characters a second that any sensible expression handles, and seconds that it gets in any case.
_SLOWEST, _GRACE = 100_000, 2


@cache
def splitter(pattern: str) -> Callable[[str], list[str]]:
    """The function that cuts a text into pieces, which joined are the text.

    pattern: a name in PATTERNS, or a regular expression of the package `regex`; what an expression
    of your own does not match is a piece too, and one that takes too long raises InputError.

    >>> splitter("gpt2")("It's  so, 2 of us")
    ['It', "'s", ' ', ' so', ',', ' 2', ' of', ' us']
    """
    import regex

    if pattern in PATTERNS:
        return partial(_split, regex.compile(PATTERNS[pattern]))
    if not isinstance(pattern, str) or re.fullmatch(r"[\w.-]*", pattern):
        raise suggest(pattern, PATTERNS, "split pattern")
    try:
        return partial(_split_by, regex.compile(pattern))
    except (regex.error, RecursionError) as error:
        raise InputError(f"split pattern {pattern!r:.80}: {error}") from None


def _split(expression: Any, text: str) -> list[str]:
    """The pieces of a text by a pattern of ours: they cover it, so their lengths tell them."""
    if text.isascii() or not (strange := stand_ins().keys() & set(text)):
        return expression.findall(text)
    shown = text.translate({ord(character): stand_ins()[character] for character in strange})
    ends = list(accumulate(map(len, expression.findall(shown)), initial=0))
    return [text[start:end] for start, end in pairwise(ends)]


def _split_by(expression: Any, text: str) -> list[str]:
    """The matches of a compiled expression and what lies between them."""
    pieces, end, seconds = [], 0, _GRACE + len(text) / _SLOWEST
    try:
        for match in expression.finditer(text, timeout=seconds):
            pieces += [text[end : match.start()], match[0]]
            end = match.end()
    except TimeoutError:
        raise InputError(
            f"split pattern {expression.pattern!r:.80} takes more than {seconds:.0f} seconds on "
            f"{len(text):,} characters; write one that never tries the same text twice"
        ) from None
    return [piece for piece in [*pieces, text[end:]] if piece]

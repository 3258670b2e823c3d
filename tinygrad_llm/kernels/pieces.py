"""The split patterns of text/patterns.py as one scanner over UTF-8, without a regular expression.

Each rule quotes the alternative of the pattern that it stands for. Characters are classed by the
table of text/unicode_classes.py, which is made from the package `regex`.
"""

from numba import njit
from numpy import int64, uint64

from tinygrad_llm.kernels.compiling import INNER
from tinygrad_llm.kernels.words import trailing_zeros, word_at

KINDS = {"gpt2": 0, "smollm": 1, "llama3": 2, "cl100k": 3}
OTHER, LETTER, NUMBER, SPACE = range(4)
_GPT2, _SMOLLM, _LLAMA3, _CL100K = range(4)
_BLANK, _APOSTROPHE, _NEWLINE, _RETURN = 0x20, 0x27, 0x0A, 0x0D
_NOTHING = -1  # the class of what lies behind the end


@njit(**INNER)
def next_piece(text, start, end, classes, kind):
    """Where the piece ends that begins at `start` of text (N,) uint8, well-formed UTF-8.

    `end`: where the text ends; 8 bytes or more lie behind it. kind: one of KINDS.
    """
    word = start + (text[start] == _BLANK)  # of all alternatives the most frequent: ' ?\p{L}+'
    stop = _ascii_letters(text, word, end)
    if stop > word:
        whole = stop == end or text[stop] < 0x80
        return stop if whole else _run(text, stop, end, classes, LETTER)
    stop = _contraction(text, start, end, kind)
    if stop:
        return stop
    first, after = _class_at(text, start, end, classes)
    following, _ = _class_at(text, after, end, classes)
    if kind >= _LLAMA3:
        if following == LETTER and first != NUMBER and not _is_newline(text[start]):
            return _run(text, after, end, classes, LETTER)  # [^\r\n\p{L}\p{N}]?\p{L}+, two or more
    elif text[start] == _BLANK and following in (OTHER, LETTER):
        return _run(text, after, end, classes, following)  # ' ?\p{L}+' and ' ?[^\s\p{L}\p{N}]+'
    elif text[start] == _BLANK and following == NUMBER and kind == _GPT2:
        return _run(text, after, end, classes, NUMBER)  # ' ?\p{N}+'
    if first == LETTER:
        return _run(text, after, end, classes, LETTER)
    if first == NUMBER:
        return _numbers(text, after, end, classes, kind)
    if first == OTHER or (text[start] == _BLANK and following == OTHER):
        stop = _run(text, after, end, classes, OTHER)
        while kind >= _LLAMA3 and stop < end and _is_newline(text[stop]):
            stop += 1  # ' ?[^\s\p{L}\p{N}]+[\r\n]*'
        return stop
    return _white(text, start, end, classes, kind)


@njit(**INNER)
def _contraction(text, start, end, kind):
    """The end of 's 't 'm 'd 're 've 'll at `start`, 0 if there is none; (?i:...) for the last two
    kinds.
    """
    if text[start] != _APOSTROPHE or start + 1 >= end:
        return 0
    fold = 0x20 if kind >= _LLAMA3 else 0
    first = text[start + 1] | fold
    if first in (0x73, 0x74, 0x6D, 0x64):  # s t m d
        return start + 2
    if fold and start + 2 < end and text[start + 1] == 0xC5 and text[start + 2] == 0xBF:
        return start + 3  # the long s, an s where case does not count
    second = text[start + 2] | fold if start + 2 < end else 0
    if (second == 0x65 and first in (0x72, 0x76)) or (first == second == 0x6C):  # re ve ll
        return start + 3
    return 0


@njit(**INNER)
def _numbers(text, after, end, classes, kind):
    r"""\p{N}+ for GPT-2, one alone for SmolLM, up to three for the others."""
    if kind == _GPT2:
        return _run(text, after, end, classes, NUMBER)
    for _ in range(0 if kind == _SMOLLM else 2):
        following, stop = _class_at(text, after, end, classes)
        if following != NUMBER:
            break
        after = stop
    return after


@njit(**INNER)
def _white(text, start, end, classes, kind):
    r"""\s+(?!\S)|\s+, and what the kinds put before it: all white space, but for its last character
    where something follows that this may belong to.
    """
    stop, last, newline = start, start, start
    while stop < end:
        what, after = _class_at(text, stop, end, classes)
        if what != SPACE:
            break
        last, stop = stop, after
        if _is_newline(text[last]):
            newline = stop
    if kind == _CL100K and stop == end:
        return stop  # \s++$
    if kind >= _LLAMA3 and newline > start:
        return newline  # \s*[\r\n]+
    following, _ = _class_at(text, stop, end, classes)
    if kind == _SMOLLM and following == NUMBER:
        return stop  # \s+(?=\p{N})
    return last if stop < end and last > start else stop


@njit(**INNER)
def _run(text, position, end, classes, wanted):
    """Where the run of characters of one class ends."""
    while position < end:
        what, after = _class_at(text, position, end, classes)
        if what != wanted:
            break
        position = after
    return position


@njit(**INNER)
def _ascii_letters(text, position, end):
    """Where a run of ASCII letters ends: 8 at a time, for a loop's end is guessed wrong by the
    processor.

    In each byte, without its highest bit and in lower case, adding 0x1F carries into that bit from
    `a` on, adding 5 from behind `z` on.
    """
    while position < end:
        word = word_at(text.ctypes.data + position)
        low = (word | _each(0x20)) & _each(0x7F)
        letters = (low + _each(0x1F)) & ~(low + _each(0x05)) & ~word & _each(0x80)
        count = trailing_zeros(~letters & _each(0x80)) >> 3
        position += count
        if count < 8:
            break
    return min(position, end)


@njit(**INNER)
def _each(byte):
    """A word of which each byte is this one."""
    return uint64(byte) * uint64(0x0101010101010101)


@njit(**INNER)
def _class_at(text, position, end, classes):
    """(class of the character at a position, where the next one begins)."""
    if position >= end:
        return _NOTHING, position
    byte = int64(text[position])
    if byte < 0x80:
        return int64(classes[byte]), position + 1
    count = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    code = byte & (0x7F >> count)
    for i in range(position + 1, position + count):
        code = code << 6 | (int64(text[i]) & 0x3F)
    return int64(classes[code]), position + count


@njit(**INNER)
def _is_newline(byte):
    return byte == _NEWLINE or byte == _RETURN

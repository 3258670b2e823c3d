"""How a tokenizer cuts a text, for the eye: in colour on a terminal, as a page, merge by merge."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from itertools import cycle, pairwise

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer, Tokenizer
from tinygrad_llm.text.patterns import splitter

# Four backgrounds in turn, which black letters can be read on; as 256-colour codes and for HTML.
_TERMINAL = (153, 157, 223, 218)
_PAGE = ("#b3d7ff", "#b8f5b8", "#ffe0a3", "#ffc2dd")


def printable(token: bytes) -> str:
    """The text of a token; white space as ␣ ⏎ ⇥, bytes that are no text as <E2>."""
    shown = token.decode("utf-8", errors="backslashreplace")
    for character, sign in ((" ", "␣"), ("\n", "⏎"), ("\t", "⇥"), ("\r", "␍")):
        shown = shown.replace(character, sign)
    return "".join(c if c.isprintable() else f"<{ord(c):X}>" for c in shown)


def coloured(tokenizer: Tokenizer, text: str) -> str:
    """The tokens of the text side by side, neighbours on different colours of a terminal."""
    tokens = (printable(tokenizer.token_bytes(index)) for index in tokenizer.encode(text))
    return "".join(
        f"\x1b[30;48;5;{colour}m{token}\x1b[0m" for token, colour in zip(tokens, cycle(_TERMINAL))
    )


def masked(tokenizer: Tokenizer, ids: Iterable[int], first: int) -> str:
    """An example as a fine-tuning sees it: grey what is read, from token number `first` on green
    what the loss counts.
    """
    tokens = (printable(tokenizer.token_bytes(index)) for index in ids)
    return "".join(
        f"\x1b[{'30;48;5;157' if place >= first else '38;5;245'}m{token}\x1b[0m"
        for place, token in enumerate(tokens)
    )


def page(tokenizer: Tokenizer, text: str) -> str:
    """The same as a page of HTML; pointing at a token shows its id and bytes."""
    ids = tokenizer.encode(text)
    spans = []
    for index, colour in zip(ids, cycle(_PAGE)):
        token = tokenizer.token_bytes(index)
        title, shown = f"id {index}, {token.hex(' ')}", html.escape(printable(token))
        line_end = "<br>" if token.endswith(b"\n") else "<wbr>"
        spans.append(f'<span title="{title}" style="background:{colour}">{shown}</span>{line_end}')
    size = len(text.encode("utf-8", "replace"))
    return (
        '<!doctype html><meta charset="utf-8"><title>Tokens</title>'
        '<body style="font:16px/1.9 monospace;max-width:60em;margin:2em auto">'
        f"<p>{len(ids):,} tokens, {size / max(len(ids), 1):.2f} bytes a token</p>"
        f"<p>{''.join(spans)}</p>\n"
    )


def merge_steps(tokenizer: BPETokenizer, word: str) -> Iterator[list[bytes]]:
    """The parts of one piece of text: its bytes, and what they are after each merge."""
    if not isinstance(tokenizer, BPETokenizer):
        raise InputError(f"a {type(tokenizer).__name__} has no merges; a BPETokenizer has")
    if len(pieces := splitter(tokenizer.pattern)(word)) != 1:
        raise InputError(f"{word!r:.60} is cut into {pieces!r:.80} first; name one of these")
    ranks = {
        tuple(map(tokenizer.token_bytes, pair)): rank
        for rank, pair in reversed(list(enumerate(tokenizer.contents.merges)))
    }
    parts = [bytes([byte]) for byte in word.encode("utf-8", "replace")]
    yield list(parts)
    while known := [pair for pair in pairwise(parts) if pair in ranks]:
        best = min(known, key=ranks.__getitem__)
        place = next(i for i, pair in enumerate(pairwise(parts)) if pair == best)
        parts[place : place + 2] = [b"".join(best)]
        yield list(parts)

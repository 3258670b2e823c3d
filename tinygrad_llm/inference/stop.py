"""Stop strings: a streamed text ends before the first of them and never shows a part of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces, joined, up to where the stop string begins that is complete first.

    A piece is held back as long as it may be the beginning of a stop string. Where the text is cut
    into pieces does not matter.

    >>> "".join(until(["one ", "tw", "o E", "N", "D three"], ["END"]))
    'one two '
    """
    held = ""
    for piece in pieces:
        held += piece
        found = [(start + len(stop), start) for stop in stops if (start := held.find(stop)) >= 0]
        if found:
            held = held[: min(found)[1]]
            break
        safe = len(held) - max((_begun(held, stop) for stop in stops), default=0)
        if safe:
            yield held[:safe]
        held = held[safe:]
    if held:
        yield held


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)

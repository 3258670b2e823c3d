"""The way to the compiled twins of byte-pair encoding: Python's texts to arrays and back.

bpe.py and bpe_training.py are the readable twins. Which of the two runs: `worthwhile`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import numpy as np

from tinygrad_llm import twins
from tinygrad_llm.progress import Progress
from tinygrad_llm.text import bpe_training as readable
from tinygrad_llm.text.bpe_training import BYTE_ID, Pair
from tinygrad_llm.text.byte_alphabet import BYTE_ORDER, spell
from tinygrad_llm.text.contents import Contents
from tinygrad_llm.text.patterns import PATTERNS, splitter
from tinygrad_llm.text.streams import utf8
from tinygrad_llm.text.unicode_classes import unicode_classes

_PAYS = 1 << 18  # characters: about a second of the readable code, as long as loading takes
# Groups of texts for each thread: while one makes lists, which Python does alone, others encode.
_GROUPS = 4
_MERGES_AT_ONCE = 256  # then the progress is told, and Ctrl-C heard


def worthwhile(size: int) -> bool:
    """Whether compiled code should handle that many characters: there is much to do, or Numba is
    loaded anyway; never inside `with reference()`.
    """
    return twins.compiled() and (size >= _PAYS or "numba" in sys.modules)


class Encoder:
    """Encodes as BPETokenizer does; several threads may use it at once."""

    def __init__(self, contents: Contents, ranks: Mapping[Pair, int], made: Sequence[int]) -> None:
        self._pattern, self._ranks, self._made = contents.pattern, ranks, made
        ids = contents.vocabulary
        self._byte_ids = np.array([ids.get(bytes([byte]), -1) for byte in range(256)], np.int32)
        self._numbers = np.arange(len(contents.tokens)).astype(object)  # made once, not for each id
        self._memories: list = []  # of pieces; a thread takes one, and puts it back

    @cached_property
    def _merges(self):
        from tinygrad_llm.kernels.merging import merges_of

        ranks = np.fromiter(self._ranks.values(), np.int64, len(self._ranks))
        return merges_of(list(self._ranks), ranks, np.array(self._made, np.int64)[ranks])

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return self._numbers[self._encode([text.encode()])[0]].tolist()

    def _encode(self, texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """(ids of all texts, how many belong to each); the texts are well-formed UTF-8."""
        from tinygrad_llm.kernels.bpe import encode, new_memory
        from tinygrad_llm.kernels.pieces import KINDS

        try:
            memory = self._memories.pop()
        except IndexError:
            memory = new_memory()
        kind, ends = KINDS[self._pattern], np.cumsum([len(text) for text in texts], dtype=np.int64)
        tables = unicode_classes(), kind, self._merges, self._byte_ids
        found = encode(b"".join(texts), ends, *tables, memory)
        self._memories.append(memory)
        return found

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; on all cores."""
        from tinygrad_llm.kernels.threads import get_num_threads

        self._merges, unicode_classes()  # once, not by every thread
        count = get_num_threads()
        groups = _groups([utf8(text) for text in texts], _GROUPS * count)
        with ThreadPoolExecutor(count) as threads:
            return [ids for lists in threads.map(self._lists, groups) for ids in lists]

    def _lists(self, texts: Sequence[bytes]) -> list[list[int]]:
        ids, counts = self._encode(texts)
        numbers, ends = self._numbers[ids].tolist(), np.cumsum(counts).tolist()
        return [numbers[start:end] for start, end in zip([0, *ends], ends)]


def _groups(texts: Sequence[bytes], count: int) -> list[Sequence[bytes]]:
    """The texts in up to `count` groups of about equally many bytes, in their order."""
    ends = np.cumsum([len(text) for text in texts])
    shares = [ends[-1] * part // count for part in range(1, count)] if len(texts) else []
    cuts = [0, *np.searchsorted(ends, shares, side="right").tolist(), len(texts)]
    groups = [texts[a:b] for a, b in zip(cuts, cuts[1:]) if a < b]
    return groups or [texts]


def count_pieces(
    texts: Iterable[str], pattern: str, progress: Progress | None = None
) -> Counter[str]:
    """As in bpe_training.py."""
    return readable.count_pieces(texts, pattern, progress, partial(_pieces, pattern))


def _pieces(pattern: str, text: str) -> dict[str, int] | list[str]:
    """How often each piece occurs, or all pieces one after another."""
    if pattern not in PATTERNS or not worthwhile(len(text)):
        return splitter(pattern)(text)
    from tinygrad_llm.kernels.piece_counts import count_pieces
    from tinygrad_llm.kernels.pieces import KINDS

    encoded = text.encode()
    found = count_pieces(encoded, unicode_classes(), KINDS[pattern])
    return {encoded[start:end].decode(): count for start, end, count in zip(*found.tolist())}


def learn_merges(
    counts: Mapping[str, int],
    limit: int,
    *,
    min_frequency: int = 0,
    reserved: Collection[str] = (),
    progress: Progress | None = None,
) -> tuple[list[bytes], list[Pair]]:
    """As in bpe_training.py."""
    settings = {"min_frequency": min_frequency, "reserved": reserved, "progress": progress}
    if not worthwhile(sum(map(len, counts))):
        return readable.learn_merges(counts, limit, **settings)
    merges = _learn(counts, limit, max(min_frequency, 1), progress)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    if any(spell(token) in reserved for token in tokens):  # such a merge has to be passed over
        return readable.learn_merges(counts, limit, **settings)
    return tokens, merges


def _learn(
    counts: Mapping[str, int], limit: int, least: int, progress: Progress | None
) -> list[Pair]:
    from tinygrad_llm.kernels.bpe_training import Learner

    pieces = [piece.encode() for piece in counts]
    numbers = np.array([BYTE_ID[byte] for byte in range(256)], np.int32)
    symbols = numbers[np.frombuffer(b"".join(pieces), np.uint8)]
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    learner, merges = Learner(symbols, ends, list(counts.values())), []
    while len(merges) < limit:
        number = min(_MERGES_AT_ONCE, limit - len(merges))
        found = learner.learn(number, least, 256 + len(merges)).tolist()
        merges += map(tuple, found)
        if progress:
            progress("merge", len(merges), limit)
        if len(found) < number:
            break
    return merges

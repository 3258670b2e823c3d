"""Byte-pair encoding, the learning half: which pairs to merge, in which order. It knows no files.

Gage (1994); Sennrich et al. (2016), algorithm 1; on bytes: Radford et al. (2019). Instead of
counting every pair anew for every merge, the counts are kept up to date: a merge visits only the
pieces that hold its pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

from tinygrad_llm.progress import Progress
from tinygrad_llm.text.byte_alphabet import BYTE_ORDER, spell
from tinygrad_llm.text.patterns import splitter
from tinygrad_llm.text.streams import well_formed

Pair = tuple[int, int]
MOST_BYTES = 1 << 23  # of different pieces: a million words
BYTE_ID = {byte: i for i, byte in enumerate(BYTE_ORDER)}


def count_pieces(
    texts: Iterable[str],
    pattern: str,
    progress: Progress | None = None,
    split: Callable[[str], Iterable[str] | Mapping[str, int]] | None = None,
) -> Counter[str]:
    """How often each piece occurs; calls `progress("count", characters, None)` after each text.

    split: what cuts a text in place of the pattern's expression; it may count at once. Memory is
    bounded: whenever the different pieces have more than MOST_BYTES, the rarest are forgotten until
    half of that is left. Ordinary text of hundreds of megabytes stays below it.
    """
    split = split or splitter(pattern)
    counts, read, held = Counter(), 0, 0
    for text in texts:
        found = Counter(split(well_formed(text)))
        held += sum(len(piece.encode()) for piece in found if piece not in counts)
        counts.update(found)
        if held > MOST_BYTES:
            counts, held = _most_frequent(counts, MOST_BYTES // 2)
        read += len(text)
        if progress:
            progress("count", read, None)
    return counts


def _most_frequent(counts: Counter[str], size: int) -> tuple[Counter[str], int]:
    """The pieces that occur most often, one or more, of `size` bytes together; and their bytes.

    >>> _most_frequent(Counter({"the": 9, "rare": 1, "of": 4}), 5)
    (Counter({'the': 9, 'of': 4}), 5)
    """
    kept, held = Counter(), 0
    for piece, count in counts.most_common():
        if not kept or held + len(piece.encode()) <= size:
            kept[piece] = count
            held += len(piece.encode())
    return kept, held


def learn_merges(
    counts: Mapping[str, int],
    limit: int,
    *,
    min_frequency: int = 0,
    reserved: Collection[str] = (),
    progress: Progress | None = None,
) -> tuple[list[bytes], list[Pair]]:
    """All tokens (first the bytes in BYTE_ORDER) and up to `limit` merges; the i-th makes 256 + i.

    The next pair is the one that occurs most often in the pieces; of equals, the one with the
    smaller ids (the rule of Hugging Face's BpeTrainer). It ends early where no pair is left that
    occurs `min_frequency` times. A pair that would be spelled like one of `reserved` is passed
    over. `progress("merge", done, limit)` is called after each merge.

    By hand: in aaabdaaabac the pair (a, a) occurs 4 times, which leaves aa|a|b|d|aa|a|b|a|c. Now
    (aa, a) and (a, b) occur twice each, and (a, b) has the smaller ids: aa|ab|d|aa|ab|a|c. Last
    comes (aa, ab), twice: aaab|d|aaab|a|c.

    >>> tokens, merges = learn_merges({"aaabdaaabac": 1}, 3)
    >>> tokens[256:]
    [b'aa', b'ab', b'aaab']
    >>> merges[2]
    (256, 257)
    """
    pieces = [[BYTE_ID[byte] for byte in piece.encode()] for piece in counts]
    pairs = _Pairs(pieces, list(counts.values()))
    tokens, merges = [bytes([byte]) for byte in BYTE_ORDER], []
    while len(merges) < limit and (pair := pairs.pop_most_frequent(max(min_frequency, 1))):
        made = tokens[pair[0]] + tokens[pair[1]]
        if spell(made) in reserved:
            continue
        pairs.merge(pair, len(tokens))
        tokens.append(made)
        merges.append(pair)
        if progress:
            progress("merge", len(merges), limit)
    return tokens, merges


class _Pairs:
    """Every pair of neighbours in the pieces: its count, its holders, and its place in a heap."""

    def __init__(self, pieces: list[list[int]], weights: list[int]) -> None:
        self.pieces, self.weights = pieces, weights
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.holders: defaultdict[Pair, set[int]] = defaultdict(set)
        for index, piece in enumerate(pieces):
            for pair in pairwise(piece):
                self.counts[pair] += weights[index]
                self.holders[pair].add(index)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapify(self.heap)

    def pop_most_frequent(self, least: int) -> Pair | None:
        """The most frequent pair that occurs `least` times or more.

        A count in the heap may be too high (merges have taken pairs away since), never too low: an
        entry that lies goes back with the truth.
        """
        while self.heap:
            count, pair = heappop(self.heap)
            if -count == self.counts[pair]:
                return pair if -count >= least else None
            if self.counts[pair]:
                heappush(self.heap, (-self.counts[pair], pair))
        return None

    def merge(self, pair: Pair, token: int) -> None:
        """Put `token` in the place of `pair` in every piece that holds it."""
        made = set()
        for index in self.holders.pop(pair):
            old, weight = self.pieces[index], self.weights[index]
            new = self.pieces[index] = _replaced(old, pair, token)
            for neighbours in pairwise(old):
                self.counts[neighbours] -= weight
            for neighbours in pairwise(new):
                self.counts[neighbours] += weight
                if token in neighbours:
                    self.holders[neighbours].add(index)
                    made.add(neighbours)
        for neighbours in made:
            heappush(self.heap, (-self.counts[neighbours], neighbours))


def _replaced(piece: list[int], pair: Pair, token: int) -> list[int]:
    """`piece` with each `pair`, from the left, replaced by `token`."""
    first, second = pair
    result, i, last = [], 0, len(piece) - 1
    while i <= last:
        if i < last and piece[i] == first and piece[i + 1] == second:
            result.append(token)
            i += 2
        else:
            result.append(piece[i])
            i += 1
    return result

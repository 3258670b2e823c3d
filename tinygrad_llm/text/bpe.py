"""Byte-level byte-pair encoding, as in GPT-2 (Radford et al., 2019, section 2.2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from tinygrad_llm.errors import InputError
from tinygrad_llm.progress import Progress
from tinygrad_llm.text import gpt2_files, tiktoken_files, tokenizer_json
from tinygrad_llm.text.bpe_training import Pair
from tinygrad_llm.text.byte_alphabet import BYTE_ORDER
from tinygrad_llm.text.compiled import Encoder, count_pieces, learn_merges, worthwhile
from tinygrad_llm.text.contents import Contents, number_special
from tinygrad_llm.text.patterns import PATTERNS, splitter
from tinygrad_llm.text.streams import texts
from tinygrad_llm.text.tokenizer import Tokenizer

_MAX_CACHED_PIECES = 1 << 16
_MAX_CACHED_LENGTH = 64


class BPETokenizer(Tokenizer):
    """Cuts text into pieces by a split pattern and merges the bytes of each into learned tokens.

    >>> tokenizer = BPETokenizer.train(["low low low lower"], vocab_size=259)
    >>> [tokenizer.token_bytes(index) for index in tokenizer.encode("lower, slow")]
    [b'low', b'e', b'r', b',', b' ', b's', b'low']
    """

    kind = "bpe"

    def __init__(self, contents: Contents) -> None:
        super().__init__(contents)
        ids, tokens = contents.vocabulary, contents.tokens
        self.pattern = contents.pattern
        self._byte_ids = [ids.get(bytes([byte])) for byte in range(256)]
        self._made = [ids[tokens[left] + tokens[right]] for left, right in contents.merges]
        self._ranks = ranks_of(contents.merges, self._made if contents.tied else None)
        self._cache: dict[str, list[int]] = {}
        self._encoder = Encoder(contents, self._ranks, self._made)

    @classmethod
    def train(
        cls,
        texts_or_path: str | Path | TextIO | Iterable[str | Path],
        vocab_size: int,
        *,
        pattern: str = "gpt2",
        special_tokens: Sequence[str] = (),
        min_frequency: int = 0,
        progress: Progress | None = None,
    ) -> BPETokenizer:
        """Learn a vocabulary of `vocab_size`: 256 bytes, the merges, then the special tokens.

        `texts_or_path` is the path of a UTF-8 file, an open file, or an iterable of texts (str,
        each on its own) and files (Path). A pair is merged while it occurs `min_frequency` times;
        0, as in Hugging Face's BpeTrainer, merges down to pairs that occur once. Where the text has
        too few pairs, the vocabulary is smaller than asked: `vocab_size` of the result tells.
        `pattern` is a name in patterns.PATTERNS or a regular expression of the package `regex`.
        `progress(stage, done, total)` is called with ("count", characters read, None) and ("merge",
        merges made, merges wanted).
        """
        special = number_special(special_tokens, 256)
        limit = vocab_size - 256 - len(special)
        if limit < 0:
            raise InputError(
                f"vocab_size {vocab_size} is too small: 256 bytes and {len(special)} "
                f"special tokens need at least {vocab_size - limit}"
            )
        bytes_alone = {bytes([byte]): i for i, byte in enumerate(BYTE_ORDER)}
        Contents("bpe", bytes_alone, special, pattern=pattern)  # refuses bad names before the work
        counts = count_pieces(texts(texts_or_path), pattern, progress)
        if not counts:
            raise InputError("there is no text to train a tokenizer on; give at least a character")
        tokens, merges = learn_merges(
            counts, limit, min_frequency=min_frequency, reserved=special, progress=progress
        )
        vocabulary = {token: i for i, token in enumerate(tokens)}
        special = number_special(special, len(tokens))
        return cls(Contents("bpe", vocabulary, special, merges, pattern))

    @classmethod
    def from_file(cls, path: str | Path, *, allow_pattern: bool = False) -> BPETokenizer:
        """Read the tokenizer.json `path`, or the one in the folder `path`.

        A split pattern that is none of ours is a program of somebody else's: it runs only with
        `allow_pattern`, and not for long. InputError if the file is missing or malformed.
        """
        return cls._of_kind(path, tokenizer_json.read(path, allow_pattern=allow_pattern))

    @classmethod
    def from_tiktoken(
        cls, path: str | Path, pattern: str, special_tokens: Mapping[str, int] | None = None
    ) -> BPETokenizer:
        """From a rank file of tiktoken: a line for each token, in base64, and its rank.

        Neither the pattern ("cl100k" for GPT-4's) nor the special tokens are in such a file.
        """
        return cls(tiktoken_files.read(path, pattern, special_tokens or {}))

    @classmethod
    def from_gpt2(
        cls,
        encoder_json: str | Path,
        vocab_bpe: str | Path,
        special_tokens: Sequence[str] = ("<|endoftext|>",),
    ) -> BPETokenizer:
        """From GPT-2's two files; `special_tokens` names those entries that no text may yield."""
        return cls(gpt2_files.read(encoder_json, vocab_bpe, special_tokens))

    def encode_batch(
        self, texts: Iterable[str], allowed_special: Collection[str] | str = ()
    ) -> list[list[int]]:
        """`encode` of each text, on all cores where no special token is allowed."""
        texts = list(texts)
        if self._allowed(allowed_special) or not self._compiled(sum(map(len, texts))):
            return super().encode_batch(texts, allowed_special)
        return self._encoder.encode_batch(texts)

    def _compiled(self, size: int) -> bool:
        return self.pattern in PATTERNS and worthwhile(size)

    def _encode_ordinary(self, text: str) -> list[int]:
        if self._compiled(len(text)):
            return self._encoder.encode(text)
        ids: list[int] = []
        known = self._cache
        for piece in splitter(self.pattern)(text):
            ids += self._encode_piece(piece) if piece not in known else known[piece]
        return ids

    def _encode_piece(self, piece: str) -> list[int]:
        """The ids of one piece, which are remembered if it is short, since words come again."""
        ids = [index for byte in piece.encode() if (index := self._byte_ids[byte]) is not None]
        ids = merge(ids, self._ranks, self._made)
        if len(piece) <= _MAX_CACHED_LENGTH:
            if len(self._cache) >= _MAX_CACHED_PIECES:
                self._cache.clear()
            self._cache[piece] = ids
        return ids


def ranks_of(merges: Sequence[Pair], tied: Sequence[int] | None) -> dict[Pair, int]:
    """The rank of each merge: its place in the order of learning. Merges that make the same of the
    ids `tied` have the rank of the first of them.
    """
    if tied is None:
        return {pair: rank for rank, pair in enumerate(merges)}
    first: dict[int, int] = {}
    return {
        pair: first.setdefault(index, rank)
        for rank, (pair, index) in enumerate(zip(merges, tied, strict=True))
    }


def merge(ids: Sequence[int], ranks: Mapping[Pair, int], made: Sequence[int]) -> list[int]:
    """Merge the neighbours with the lowest rank, from the left, until no two of them have a rank.

    `ranks` gives each pair its place in the order of learning, `made[rank]` the token it becomes.
    The ids are a linked list, and a heap holds the pairs: O(n log n), where looking for the best
    pair anew each time is quadratic.

    By hand, with (a, b) -> x first and (b, c) -> y second, abc becomes xc: a b has the lower rank,
    and takes the b that b c would need.

    >>> a, b, c, x, y = range(5)
    >>> merge([a, b, c], {(a, b): 0, (b, c): 1}, made=[x, y]) == [x, c]
    True
    """
    ids = [*ids, None]
    end = len(ids) - 1
    after, before = list(range(1, end + 2)), list(range(-1, end))
    heap = [(ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapify(heap)
    while heap:
        rank, i = heappop(heap)
        if ids[i] is None or ranks.get((ids[i], ids[after[i]])) != rank:
            continue  # a merge since has changed one of the two
        gone = after[i]
        ids[i], ids[gone] = made[rank], None
        after[i] = after[gone]
        before[after[i]] = i
        for left in (before[i], i):
            if left >= 0 and (pair := (ids[left], ids[after[left]])) in ranks:
                heappush(heap, (ranks[pair], left))
    return [index for index in ids if index is not None]

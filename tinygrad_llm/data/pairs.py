"""Texts and their translations: files to pairs of ids, pairs to batches of about equal lengths.

A batch is three int64 arrays: source (B, S), what the decoder reads (B, T), and its labels (B, T),
which are -100 where there is no token.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer, Tokenizer

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]

PAD, END, START = SPECIAL = "<pad>", "</s>", "<s>"
IGNORE = -100


def read_pairs(source: str | Path, target: str | Path | None = None) -> list[tuple[str, str]]:
    """The lines of two files, each with its translation; or of one, with a tab between the two.

    Files are UTF-8, those that end in .gz compressed. A pair of which a side is blank is left out.
    InputError where a file cannot be read, the files differ in lines, or nothing is left.
    """
    if target is None:
        pairs = [_cut(line, source, i) for i, line in enumerate(_lines(source), 1)]
    else:
        ours, theirs = _lines(source), _lines(target)
        if len(ours) != len(theirs):
            raise InputError(
                f"{source} has {len(ours):,} lines, but {target} {len(theirs):,}; line n of one "
                "must be the translation of line n of the other"
            )
        pairs = list(zip(ours, theirs))
    pairs = [(a, b) for a, b in ((a.strip(), b.strip()) for a, b in pairs) if a and b]
    if not pairs:
        raise InputError(f"there is no pair of texts in {source}; name a file that holds some")
    return pairs


def _lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file; only a line feed ends one."""
    try:
        content = Path(path).read_bytes()
        if str(path).endswith(".gz"):
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: byte 0x{error.object[error.start]:02X} at offset "
            f"{error.start:,}; convert it to UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}") from error
    return text.removesuffix("\n").split("\n")


def _cut(line: str, path: str | Path, number: int) -> tuple[str, str]:
    parts = line.rstrip("\r").split("\t")
    if len(parts) < 2 and line.strip():
        raise InputError(
            f"{path}, line {number} has no tab: a file alone holds text, tab, translation; for two "
            "files name the other one with --target"
        )
    return parts[0], parts[1] if len(parts) > 1 else ""


def train_tokenizer(pairs: Sequence[tuple[str, str]], vocab_size: int, **more) -> BPETokenizer:
    """One byte-pair vocabulary for both languages, as in Vaswani et al. 2017, section 5.1."""
    texts = (text for side in zip(*pairs) for text in side)
    return BPETokenizer.train(texts, vocab_size, special_tokens=SPECIAL, **more)


@dataclass(frozen=True)
class Pairs:
    """Ids of n texts and of their translations, each text with the end token.

    sources, targets: all ids in a row (int32); text i is [starts[i], starts[i + 1]) of them.
    """

    sources: np.ndarray
    source_starts: np.ndarray
    targets: np.ndarray
    target_starts: np.ndarray
    pad: int
    start: int  # what the decoder reads first

    def __len__(self) -> int:
        return len(self.source_starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each source and target, (n, 2)."""
        return np.stack([np.diff(self.source_starts), np.diff(self.target_starts)], axis=1)

    def checksum(self) -> int:
        """A number that other pairs hardly have."""
        return zlib.crc32(self.targets, zlib.crc32(self.sources))

    def batch(self, rows: np.ndarray) -> Batch:
        """The arrays of these pairs, filled up to the longest source and the longest target."""
        longest, width = self.lengths[rows].max(axis=0)
        source = np.full((len(rows), longest), self.pad, np.int64)
        inputs = np.full((len(rows), width), self.pad, np.int64)
        labels = np.full((len(rows), width), IGNORE, np.int64)
        for i, row in enumerate(rows):
            ids = self.sources[self.source_starts[row] : self.source_starts[row + 1]]
            source[i, : len(ids)] = ids
            ids = self.targets[self.target_starts[row] : self.target_starts[row + 1]]
            labels[i, : len(ids)] = ids
            inputs[i, 1 : len(ids)] = ids[:-1]
        inputs[:, 0] = self.start
        return source, inputs, labels


def encode_pairs(
    pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer, longest: int
) -> tuple[Pairs, int]:
    """The ids of the pairs, and how many were left out: those with more than `longest` tokens."""
    special = tokenizer.special_tokens
    if missing := [name for name in SPECIAL if name not in special]:
        raise InputError(f"the tokenizer has no {missing[0]}; train one with train-translation")
    sides = [tokenizer.encode_batch(side) for side in zip(*pairs)]
    kept = [
        (a, b) for a, b in zip(*sides, strict=True) if max(len(a), len(b)) < longest and a and b
    ]
    if not kept:
        raise InputError(f"all {len(pairs):,} pairs are longer than {longest} tokens")
    flat = [part for side in zip(*kept) for part in _joined(side, special[END])]
    return Pairs(*flat, pad=special[PAD], start=special[START]), len(pairs) - len(kept)


def _joined(texts: Sequence[Sequence[int]], end: int) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
    return np.array([token for text in texts for token in (*text, end)], np.int32), starts


class PairBatches:
    """An endless iterator of batches of about `batch_tokens` tokens, padding included, a side.

    Pairs of equal lengths are together, so that little is padding: each epoch sorts all by length,
    in random order where lengths are equal, cuts them into batches and shuffles those. One seed
    drawn from `rng` and the number of the epoch decide all of it.
    """

    def __init__(self, pairs: Pairs, *, batch_tokens: int, rng: np.random.Generator) -> None:
        self.pairs, self.batch_tokens = pairs, batch_tokens
        self._seed = int(rng.integers(1 << 63))
        self._begin(0)

    def _begin(self, epoch: int, position: int = 0) -> None:
        rng = np.random.default_rng([self._seed, epoch])
        batches = cut(self.pairs, self.batch_tokens, rng.permutation(len(self.pairs)))
        self._batches = [batches[i] for i in rng.permutation(len(batches))]
        self.epoch, self._position = epoch, position

    def __iter__(self) -> PairBatches:
        return self

    def __next__(self) -> Batch:
        if self._position == len(self._batches):
            self._begin(self.epoch + 1)
        self._position += 1
        return self.pairs.batch(self._batches[self._position - 1])

    def state_dict(self) -> dict[str, int]:
        """Where the iterator is, as JSON can hold it: with it, another goes on bit for bit."""
        return {
            "seed": self._seed,
            "epoch": self.epoch,
            "position": self._position,
            "batch_tokens": self.batch_tokens,
            "checksum": self.pairs.checksum(),
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a `state_dict`. InputError for one of other pairs."""
        own = self.state_dict()
        if set(state) != set(own) or any(type(n) is not int or n < 0 for n in state.values()):
            raise InputError(f"the state of batches has {', '.join(own)}, not {dict(state)}")
        for key in ("batch_tokens", "checksum"):
            if state[key] != own[key]:
                raise InputError(
                    f"the stored batches had {key} {state[key]}, these have {own[key]}; use the "
                    "same files and settings, or start anew"
                )
        self._seed = state["seed"]
        self._begin(state["epoch"], state["position"])
        if self._position > len(self._batches):
            raise InputError(
                f"position {self._position:,} is past the {len(self._batches):,} batches of an "
                "epoch: the stored state is damaged; start anew"
            )


def batches_in_order(pairs: Pairs, batch_tokens: int) -> Iterator[Batch]:
    """Every pair once, the short ones first: what an evaluation reads."""
    return map(pairs.batch, cut(pairs, batch_tokens, np.arange(len(pairs))))


def cut(pairs: Pairs, batch_tokens: int, order: np.ndarray) -> list[np.ndarray]:
    """The numbers of the pairs in batches; of pairs of equal lengths, those first in `order`.

    A batch is as large as can be while no side of it is more than batch_tokens; of one pair, if
    that alone is more.
    """
    lengths = pairs.lengths
    order = order[np.lexsort((lengths[order, 1], lengths[order, 0]))]
    size = np.maximum(lengths[order, 0], lengths[order, 1])
    batches, first, longest = [], 0, 0
    for i, length in enumerate(size.tolist()):
        longest = max(longest, length)
        if i > first and longest * (i + 1 - first) > batch_tokens:
            batches.append(order[first:i])
            first, longest = i, length
    return [*batches, order[first:]]

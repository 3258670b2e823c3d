"""Examples to batches: each epoch has every example once, shuffled, those of like length together.

What a batch is made of, the caller's function says; this file knows numbers of examples alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError

POOL = 16  # batches that are sorted by length together


class Epochs:
    """An endless iterator of batches of `batch_size` examples; the last of an epoch may be smaller.

    lengths: of the examples, in tokens. collate: the numbers of some examples -> their batch. One
    seed drawn from `rng` and the number of the epoch decide the order.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        collate: Callable[[np.ndarray], Any],
        *,
        batch_size: int,
        rng: np.random.Generator,
    ):
        if not len(lengths) or batch_size < 1:
            raise InputError(f"{len(lengths)} examples in batches of {batch_size}: at least 1 each")
        self.lengths, self.collate = np.asarray(lengths), collate
        self.batch_size, self._seed = batch_size, int(rng.integers(1 << 63))
        self._begin(0)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self.lengths) // self.batch_size)

    def _begin(self, epoch: int, position: int = 0) -> None:
        self.epoch, self._position = epoch, position
        rng = np.random.default_rng([self._seed, epoch])
        self._order = grouped(self.lengths, self.batch_size, rng)

    def __iter__(self) -> Epochs:
        return self

    def __next__(self) -> Any:
        if self._position == len(self._order):
            self._begin(self.epoch + 1)
        self._position += 1
        return self.collate(self._order[self._position - 1])

    def state_dict(self) -> dict[str, int]:
        """Where the iterator is, as JSON can hold it: with it, another goes on bit for bit."""
        return {
            "seed": self._seed,
            "epoch": self.epoch,
            "position": self._position,
            "examples": len(self.lengths),
            "lengths": zlib.crc32(self.lengths.tobytes()),
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a `state_dict`. InputError for one of other examples."""
        own = self.state_dict()
        if set(state) != set(own) or any(type(n) is not int or n < 0 for n in state.values()):
            raise InputError(f"the state of batches has {', '.join(own)}, not {dict(state)}")
        for key in ("examples", "batch_size"):
            if state[key] != own[key]:
                raise InputError(
                    f"the stored batches had {key} = {state[key]:,}, these have {own[key]:,}; "
                    "use the same data, or start anew"
                )
        if state["lengths"] != own["lengths"]:
            raise InputError(
                "the stored batches were of as many examples of other lengths; use the same data, "
                "or start anew"
            )
        if state["position"] > len(self):
            raise InputError(f"the stored position {state['position']:,} is past the epoch's end")
        self._seed = state["seed"]
        self._begin(state["epoch"], state["position"])


def grouped(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All examples' numbers in batches, shuffled, with little padding in each.

    A random order is cut into pools of POOL batches, each sorted by length and cut into batches;
    the batches are shuffled again, but for a smaller one, which comes last.
    """
    order = rng.permutation(len(lengths))
    size = POOL * batch_size
    pools = [order[start : start + size] for start in range(0, len(order), size)]
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    whole = len(order) // batch_size
    return [batches[i] for i in rng.permutation(whole)] + batches[whole:]

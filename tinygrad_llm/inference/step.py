"""A step that reads one token, at the speed of its kernels: what they do for a token is kept as a
program when the first is read, and only run again for the next.

The program comes from the model's own forward pass, so the values are the same, bit for bit. It
holds the weights' arrays: writes into them are seen, other arrays in their place are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_llm import tape, twins
from tinygrad_llm.inference.cache import KVCache
from tinygrad_llm.tensor import Tensor


def can_be_kept() -> bool:
    """Whether float32 operations run as kernels here, and nobody watches them."""
    return twins.compiled() and tape.watcher.get() is None


class NotAProgram(Exception):
    """An operation of the model ran outside kernels, so that a program would miss what it does."""


def _must_be_kernels(op: Callable, args: tuple, settings: dict, outputs: tuple) -> None:
    """A watcher of the tape: NumPy may only make views of what kernels made."""
    if twins.kernel_of(op) is None:
        arrays = [a.data if isinstance(a, Tensor) else a for a in args]
        for y in outputs:
            if not any(np.may_share_memory(y.data, a) for a in arrays if isinstance(a, np.ndarray)):
                raise NotAProgram(op.__name__)


class Step:
    """One token for each of B texts: ids (B, 1) -> logits (B, V), and the caches grow by one.

    It serves as long as the caches keep their memory: `fits` tells. NotAProgram for a model with
    operations that are no kernels, such as adapters that are not merged.
    """

    def __init__(self, model, caches: Sequence[KVCache], batch: int):
        from tinygrad_llm.kernels import attention_forward, attention_step
        from tinygrad_llm.kernels.program import Program

        self._model, self._caches, self._batch = model, caches, batch
        past = len(caches[0])
        self._memory = [cache.room() for cache in caches]
        self._place = np.array([past])
        self._x = model.embed(np.zeros((batch, 1), int), past).data.copy()
        self._beside = tuple(table.copy() for table in model.beside(past, 1))
        slots = [_Slot(self._place, *memory) for memory in self._memory]
        self._program = Program()
        with self._program.kept(), tape.watch(_must_be_kernels):
            states = model.through(_tensor(self._x), beside=self._beside, cache=slots)
            self._logits = model.scores(states).data[:, -1]
        workers = attention_forward.heads, attention_step.heads
        found = [a for worker in workers for a in self._program.arguments_of(worker)]
        self._sizes = [arguments[0] for arguments in found]

    def fits(self, caches: Sequence[KVCache], batch: int) -> bool:
        """Whether this step can read the next token behind what these caches hold."""
        same = caches is self._caches and batch == self._batch
        return same and all(c.holds(*memory) for c, memory in zip(caches, self._memory))

    def read(self, ids: np.ndarray) -> np.ndarray:
        past = len(self._caches[0])
        self._x[...], self._place[0] = self._model.embed(ids, past).data, past
        for kept, new in zip(self._beside, self._model.beside(past, 1)):
            kept[...] = new
        for sizes in self._sizes:
            sizes[_KEYS] = past + 1
        self._program.run()
        for cache in self._caches:
            cache.grow()
        return self._logits.copy()


_KEYS = 4  # the place of the number of keys among attention's sizes


class _Slot:
    """Stands for a layer's cache while a program is made: attention sees all its memory, and is
    told later how much of it counts.
    """

    def __init__(self, place: np.ndarray, keys: Tensor, values: Tensor):
        self._place, self._keys, self._values = place, keys, values

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        from tinygrad_llm.kernels.cache import append

        append(self._place, k.data, v.data, self._keys.data, self._values.data)
        return self._keys, self._values


def _tensor(array: np.ndarray) -> Tensor:
    """A Tensor that shares the array's memory."""
    tensor = Tensor(0.0)
    tensor.data = array
    return tensor

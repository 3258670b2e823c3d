"""The weights of a folder: model.safetensors, or several files that an index names.

model.safetensors.index.json maps each tensor to its file. The index may come from a stranger: a
name that is not that of a safetensors file in the folder itself opens nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object, write_atomic
from tinygrad_llm.progress import Progress
from tinygrad_llm.tensor_files import TensorFile, open_tensors, save_tensors

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_SHARDS = 512  # all are open at once, and systems allow about a thousand open files
_NAME = re.compile(r"\w[\w.-]{,200}\.safetensors", re.ASCII)


class Shards:
    """Open files that hold one model together; like a TensorFile, with entries and read."""

    def __init__(self, path: Path, files: Mapping[str, TensorFile], weight_map: Mapping[str, str]):
        self.path, self._files, self._weight_map = path, files, weight_map
        self.entries = {name: entry for f in files.values() for name, entry in f.entries.items()}
        for name, shard in weight_map.items():
            if name not in files[shard].entries:
                raise InputError(f"{path}: {name!r:.80} is not in {shard}")
        extra = [n for shard, f in files.items() for n in f.entries if weight_map.get(n) != shard]
        if extra:
            raise InputError(f"{path} does not say where {extra[0]!r:.80} is")

    def read(self, name: str) -> np.ndarray:
        """One array, as TensorFile reads it."""
        return self._files[self._weight_map[name]].read(name)


@contextmanager
def open_weights(folder: Path) -> Iterator[TensorFile | Shards]:
    """The folder's weights, checked and open; the single file, if there is one."""
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        with open_tensors(folder / WEIGHTS) as tensors:
            yield tensors
        return
    weight_map = _read_index(folder / INDEX)
    with ExitStack() as stack:
        files = {
            shard: stack.enter_context(open_tensors(_shard_path(folder, shard)))
            for shard in sorted(set(weight_map.values()))
        }
        yield Shards(folder / INDEX, files, weight_map)


def _read_index(path: Path) -> dict[str, str]:
    """Tensor name -> name of its file."""
    weight_map = read_json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{path}: weight_map is {weight_map!r:.80}, not an object of file names")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not _NAME.fullmatch(shard):
            raise InputError(
                f"{path}: {shard!r:.80} is not the name of a .safetensors file in the folder"
            )
    if (count := len(set(weight_map.values()))) > MAX_SHARDS:
        raise InputError(f"{path} names {count} files; at most {MAX_SHARDS} are read")
    return weight_map


def _shard_path(folder: Path, shard: str) -> Path:
    """The path of a file of this name; a link may not lead out of the folder, but into the one
    where huggingface-hub keeps the files of its snapshots/COMMIT: blobs, beside snapshots.
    """
    path, home = folder / shard, folder.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if path.is_symlink() and path.resolve().parent not in (home, blobs):
        raise InputError(f"{path} is a link to a file outside the folder; copy the file there")
    return path


def save_weights(
    folder: Path,
    tensors: Mapping[str, np.ndarray],
    max_shard_bytes: int | None = None,
    *,
    progress: Progress | None = None,
) -> None:
    """Write model.safetensors, or where it would be larger than that, several files and an index.

    progress is told of the arrays of each file.
    Whatever moment the process is killed at, no index points to files that belong to another.
    """
    shards = _cut(tensors, max_shard_bytes)
    save = partial(save_tensors, metadata={"format": "pt"}, progress=progress)
    if len(shards) == 1:
        save(folder / WEIGHTS, tensors)
        (folder / INDEX).unlink(missing_ok=True)
        return
    (folder / INDEX).unlink(missing_ok=True)
    weight_map = {}
    for i, names in enumerate(shards, 1):
        shard = f"model-{i:05}-of-{len(shards):05}.safetensors"
        save(folder / shard, {name: tensors[name] for name in names})
        weight_map |= dict.fromkeys(names, shard)
    total = sum(array.nbytes for array in tensors.values())
    document = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_atomic(folder / INDEX, json.dumps(document, indent=2) + "\n")
    (folder / WEIGHTS).unlink(missing_ok=True)


def _cut(tensors: Mapping[str, np.ndarray], limit: int | None) -> list[list[str]]:
    """Names in groups whose bytes stay below the limit; a tensor above it stands alone."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, array in tensors.items():
        if limit is not None and groups[-1] and size + array.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += array.nbytes
    return groups

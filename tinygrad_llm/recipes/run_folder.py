"""Whose folder it is: a run begins in it, goes on in it, or leaves it to the next try.

What the files in it hold is not known here.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_llm.errors import InputError, NonFiniteLoss
from tinygrad_llm.files import write_atomic
from tinygrad_llm.formats.sharded import INDEX, WEIGHTS
from tinygrad_llm.recipes.corpus import TOKENS
from tinygrad_llm.recipes.settings import Groups, read_settings
from tinygrad_llm.training import checkpoint

SETTINGS = "settings.toml"
MAY_CHANGE = {"steps", "epochs", "eval_every", "save_every", "sample_every", "patience"}
OF_THE_TOKENS = {"model", "data", "tokenizer", "vocab_size", "source", "target"}  # they follow from


@contextmanager
def open_folder(settings: Groups, folder: Path, resume: bool) -> Iterator[None]:
    """Make the folder and store the settings in it; or check them against those of the run that is
    there. A run that begins in this block and fails in it before it saved anything leaves no
    settings behind, and the same folder does for the next try.
    """
    new, had_tokens = not (folder / SETTINGS).exists(), (folder / TOKENS).exists()
    if not (new or resume):
        raise InputError(
            f"{folder} holds a run already; add --resume to go on with it, or name another --out"
        )
    if new and has_saved(folder):
        raise InputError(f"{folder} holds a model already; name another --out")
    if not new:
        _check_unchanged(folder, settings)
    _store(folder, settings)
    try:
        yield
    except (InputError, NonFiniteLoss):
        if new and not has_saved(folder):
            (folder / SETTINGS).unlink()
            if not had_tokens:
                shutil.rmtree(folder / TOKENS, ignore_errors=True)
        raise


def has_saved(folder: Path) -> bool:
    """Whether the run in this folder has come to something: a checkpoint, or a model."""
    return any((folder / name).exists() for name in (checkpoint.FILE, WEIGHTS, INDEX))


def _store(folder: Path, settings: Groups) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / SETTINGS, settings.to_toml())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise InputError(
            f"cannot write into {folder}: {error.strerror}; name another --out"
        ) from error


def _check_unchanged(folder: Path, now: Groups) -> None:
    """A run that has saved something may become longer or look more often, but stays the same; one
    that has not is bound to its tokens alone.
    """
    before, after = read_settings(str(folder / SETTINGS), type(now)()).flat(), now.flat()
    stored = any((folder / name).exists() for name in (TOKENS, "tokenizer.json"))
    bound = OF_THE_TOKENS & before.keys() if stored else set()
    fixed = before.keys() - MAY_CHANGE if has_saved(folder) else bound
    for key in sorted(before, key=lambda key: key != "model"):  # another model has other keys
        value, wanted = before[key], after.get(key)
        if wanted != value and key in fixed:
            raise InputError(
                f"--resume cannot change {key} from {value!r} to {wanted!r}; "
                f"start a new run with another --out"
            )

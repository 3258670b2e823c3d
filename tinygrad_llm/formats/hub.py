"""Models by their name on the Hugging Face hub: JSON and safetensors alone, at one pinned revision.

The package huggingface-hub (the extra `hub`) talks to the hub, keeps files and shows progress.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tinygrad_llm.errors import InputError

# No pickle, no code: nothing else is asked for. Files in folders of the repository are variants,
# but for the one that says how an encoder's states become a vector.
_WANTED = (
    {"allow_patterns": ["*.json", "*.safetensors"], "ignore_patterns": ["*/*"]},
    {"allow_patterns": ["1_Pooling/config.json"]},
)
_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


class Downloaded(NamedTuple):
    """folder: a Hugging Face folder. pinned: NAME@COMMIT, which names these files forever."""

    folder: Path
    pinned: str


def is_name(source: str) -> bool:
    """Whether a source can be a name on the hub: owner/model, or owner/model@revision.

    >>> is_name("HuggingFaceTB/SmolLM2-135M"), is_name("gpt2/at/home"), is_name("../x")
    (True, False, False)
    """
    return bool(_NAME.fullmatch(source)) and not source.startswith(".")


def download(source: str) -> Downloaded:
    """The files of owner/model[@revision], from the hub or from what was kept of it.

    revision: a branch, a tag or a commit; without one the newest commit. InputError where the
    package is missing, the hub does not answer, or knows no such model.
    """
    try:
        import huggingface_hub as hub
    except ImportError:
        raise InputError(
            f"{source} is no folder or file here; models of the Hugging Face hub need: "
            "pip install huggingface-hub"
        ) from None
    repository, revision = _NAME.fullmatch(source).group("repository", "revision")
    try:
        commit = hub.HfApi().model_info(repository, revision=revision).sha
        for patterns in _WANTED:
            folder = hub.snapshot_download(repository, revision=commit, **patterns)
    except Exception as error:  # a lost connection raises what the HTTP library beneath raises
        raise InputError(
            f"{source} is no folder or file here, and the hub does not give it: "
            f"{str(error).strip() or type(error).__name__:.300}"
        ) from None
    return Downloaded(Path(folder), f"{repository}@{commit}")

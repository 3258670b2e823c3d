"""Weights in several files: what an index from a stranger may not say."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from tests.test_llama_folder import logits, noisy_model
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.formats.sharded import INDEX, WEIGHTS
from tinygrad_llm.tensor_files import load_tensors, save_tensors

HOSTILE = [
    "../outside.safetensors",
    "../../outside.safetensors",
    "sub/../../outside.safetensors",
    "sub/inside.safetensors",
    "./model-00001-of-00003.safetensors",
    "/etc/passwd",
    "/tmp/outside.safetensors",
    "//host/share/x.safetensors",
    "..\\outside.safetensors",
    "C:\\outside.safetensors",
    "C:outside.safetensors:stream",
    "file:///tmp/outside.safetensors",
    "https://example.org/x.safetensors",
    "~/outside.safetensors",
    "$HOME/outside.safetensors",
    "model.safetensors\x00.txt",
    "outside.safetensors\n",
    "\ud800.safetensors",
    "",
    ".",
    "..",
    ".safetensors",
    "pytorch_model.bin",
    "config.json",
    "x" * 300 + ".safetensors",
    None,
    7,
    ["model.safetensors"],
]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    save_model(path, noisy_model(), max_shard_bytes=8000)
    return path


def index(folder):
    return json.loads((folder / INDEX).read_text())


def rewrite(folder, change):
    document = index(folder)
    change(document)
    (folder / INDEX).write_text(json.dumps(document))


def first_tensor(document):
    return next(iter(document["weight_map"]))


def test_no_file_is_larger_than_asked_unless_it_holds_one_tensor(folder):
    shards = sorted(set(index(folder)["weight_map"].values()))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    for shard in shards:
        tensors, _ = load_tensors(folder / shard)
        assert sum(x.nbytes for x in tensors.values()) <= 8000 or len(tensors) == 1
    assert not (folder / WEIGHTS).exists()
    np.testing.assert_array_equal(logits(load_model(folder)), logits(noisy_model()))


def test_saving_again_in_the_other_form_leaves_one_form(folder):
    other = noisy_model(num_hidden_layers=1)
    save_model(folder, other)
    assert not (folder / INDEX).exists()
    np.testing.assert_array_equal(logits(load_model(folder)), logits(other))
    save_model(folder, noisy_model(), max_shard_bytes=8000)
    assert not (folder / WEIGHTS).exists()
    np.testing.assert_array_equal(logits(load_model(folder)), logits(noisy_model()))


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_hostile_file_name_opens_nothing_outside(name, folder, tmp_path, monkeypatch):
    save_tensors(tmp_path / "outside.safetensors", {"x": np.ones(1)})
    rewrite(folder, lambda d: d["weight_map"].update({first_tensor(d): name}))
    opened, real = [], open
    monkeypatch.setattr(
        "builtins.open", lambda path, *rest: opened.append(path) or real(path, *rest)
    )
    with pytest.raises(InputError, match="not the name of a .safetensors file"):
        load_model(folder)
    assert opened == [folder / "config.json", folder / INDEX]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "missing"])
def test_a_name_that_is_no_file_of_the_folder_is_refused(kind, folder, tmp_path):
    save_tensors(tmp_path / "outside.safetensors", {"x": np.ones(1)})
    shard = folder / "model-00001.safetensors"
    {
        "link": lambda: shard.symlink_to(tmp_path / "outside.safetensors"),
        "pipe": lambda: os.mkfifo(shard),
        "folder": shard.mkdir,
        "missing": lambda: None,
    }[kind]()
    rewrite(folder, lambda d: d["weight_map"].update({first_tensor(d): shard.name}))
    message = "a link to a file outside the folder" if kind == "link" else "cannot read"
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_a_link_from_a_snapshot_leads_to_its_blobs_alone(folder, tmp_path):
    home = tmp_path / "snapshots" / "c0ffee"
    home.parent.mkdir()
    folder.rename(home)
    shard = next(home.glob("model-00001-*.safetensors"))
    for place, followed in ((tmp_path / "blobs", True), (tmp_path / "others", False)):
        place.mkdir()
        shard.rename(place / "blob")
        shard.symlink_to(place / "blob")
        if followed:
            load_model(home)
            shard.unlink()
            (place / "blob").rename(shard)
        else:
            with pytest.raises(InputError, match="a link to a file outside the folder"):
                load_model(home)


def test_a_link_within_the_folder_is_followed(folder):
    shard = next(folder.glob("model-00001-*.safetensors"))
    shard.rename(folder / "blob")
    shard.symlink_to("blob")
    np.testing.assert_array_equal(logits(load_model(folder)), logits(noisy_model()))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d.pop("weight_map"), "weight_map is None"),
        (lambda d: d.update(weight_map=[]), r"weight_map is \[\]"),
        (lambda d: d.update(weight_map={}), r"weight_map is {}"),
        (lambda d: d["weight_map"].pop(first_tensor(d)), "does not say where"),
        (
            lambda d: d["weight_map"].update(more=d["weight_map"][first_tensor(d)]),
            "'more' is not in model-",
        ),
        (
            lambda d: d["weight_map"].update({str(i): f"{i}.safetensors" for i in range(1000)}),
            "at most 512",
        ),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(change, message, folder):
    rewrite(folder, change)
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_a_tensor_in_two_files_is_refused(folder):
    first, second = sorted(folder.glob("model-*.safetensors"))[:2]
    tensors, metadata = load_tensors(first)
    save_tensors(second, tensors | load_tensors(second)[0], metadata)
    with pytest.raises(InputError, match="does not say where"):
        load_model(folder)


def test_an_index_of_many_names_costs_little(folder):
    names = {f"t{i}": "model-00001.safetensors" for i in range(100_000)}
    rewrite(folder, lambda d: d.update(weight_map=names))
    tracemalloc.start()
    with pytest.raises(InputError):
        load_model(folder)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()

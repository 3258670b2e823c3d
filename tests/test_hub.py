"""Models from the hub, which a server of this test on loopback plays."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tests.test_llama_folder import noisy_model
from tinygrad_llm.errors import InputError
from tinygrad_llm.formats import hub as ours
from tinygrad_llm.formats.folder import load_model, save_model
from tinygrad_llm.recipes.import_ import import_model

hub = pytest.importorskip("huggingface_hub", reason="pip install huggingface-hub")
COMMIT = "c0ffee" + "0" * 34
NAME = "someone/small-model"


class Hub(BaseHTTPRequestHandler):
    """The two requests that matter: what a model has, and one of its files."""

    files, asked = {}, []

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        Hub.asked.append(path)
        if path in (f"/api/models/{NAME}", *(f"/api/models/{NAME}/revision/{r}" for r in _known())):
            siblings = [{"rfilename": name} for name in Hub.files]
            self.answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/api/models/{NAME}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": _hash(data)}
                for name, data in Hub.files.items()
            ]
            self.answer(json.dumps(tree).encode())
        elif path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
            self.answer(Hub.files[path.partition(f"/resolve/{COMMIT}/")[2]])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def answer(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_hash(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


def _known():
    return "main", "v1", COMMIT


def _hash(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def served(tmp_path, monkeypatch, request):
    save_model(tmp_path / "source", noisy_model(), max_shard_bytes=getattr(request, "param", None))
    Hub.files = {path.name: path.read_bytes() for path in (tmp_path / "source").iterdir()}
    Hub.files["pytorch_model.bin"] = b"a pickle"
    Hub.files["model.py"] = b"raise SystemExit"
    Hub.files["onnx/config.json"] = Hub.files["1_Pooling/config.json"] = b"{}"
    Hub.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    api = hub.HfApi
    monkeypatch.setattr(hub, "HfApi", lambda: api(endpoint=endpoint))
    download = hub.snapshot_download
    monkeypatch.setattr(
        hub,
        "snapshot_download",
        lambda *args, **more: download(
            *args, endpoint=endpoint, cache_dir=tmp_path / "cache", **more
        ),
    )
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("revision", ["", "@v1", f"@{COMMIT}"])
def test_a_name_becomes_a_folder_of_ours(served, tmp_path, revision):
    found = import_model(NAME + revision, tmp_path / "own")
    assert found.notes[-1].endswith(f"{NAME}@{COMMIT}")
    assert_weights(load_model(tmp_path / "own"), noisy_model())


def assert_weights(model, expected):
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)


@pytest.mark.parametrize("served", [8000], indirect=True)
def test_a_model_in_several_files_is_kept_as_links_which_are_followed(served, tmp_path):
    folder, _ = ours.download(NAME)
    shards = list(folder.glob("model-*.safetensors"))
    assert len(shards) > 2 and all(path.is_symlink() for path in shards)
    import_model(NAME, tmp_path / "own")
    assert_weights(load_model(tmp_path / "own"), noisy_model())


def test_neither_variants_nor_what_could_run_is_asked_for(served, tmp_path):
    folder, _ = ours.download(NAME)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"config.json", "model.safetensors", "1_Pooling/config.json"}
    assert not any(path.endswith((".bin", ".py")) for path in Hub.asked)


@pytest.mark.parametrize("name", ["someone/unknown", f"{NAME}@v2"])
def test_what_the_hub_does_not_know_is_named(served, tmp_path, name):
    with pytest.raises(InputError, match=name):
        import_model(name, tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_hub_that_does_not_answer(served, tmp_path):
    served.shutdown()
    served.server_close()
    with pytest.raises(InputError, match="the hub does not give it"):
        import_model(NAME, tmp_path / "own")


def test_without_the_package_its_installation_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="pip install huggingface-hub"):
        import_model(NAME, tmp_path / "own")

"""A model's files: from a folder, from the hub's cache, or not at all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit.indexers.models.model_files import model_folder, read_model_file

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache: Path, name: str, files: dict[str, str]) -> Path:
    model = cache / f"models--{name.replace('/', '--')}"
    snapshot = model / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(REVISION, "utf-8")
    for file, content in files.items():
        (snapshot / file).write_text(content, "utf-8")
    return snapshot


def test_a_folder_is_itself(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "x"}', "utf-8")
    assert model_folder(str(tmp_path)) == tmp_path
    assert read_model_file(str(tmp_path), "config.json") == {"model_type": "x"}
    assert read_model_file(str(tmp_path), "modules.json") is None


def test_a_whole_copy_in_the_cache_is_used_without_asking(cache: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    asked = []
    download = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **rest: asked.append(rest) or download(name, **rest)
    )
    index = json.dumps({"weight_map": {"x": "one.safetensors", "y": "two.safetensors"}})
    files = {"model.safetensors.index.json": index, "one.safetensors": "", "two.safetensors": ""}
    snapshot = put(cache, "a/whole", {"config.json": '{"a": 1}', **files})
    assert model_folder("a/whole") == snapshot
    assert asked == [{"local_files_only": True}]
    assert read_model_file("a/whole", "config.json") == {"a": 1}
    assert read_model_file("a/whole", "modules.json") is None


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": "{}"},
        {"pytorch_model.bin": ""},
        {"model.safetensors.index.json": '{"weight_map": {"x": "one.safetensors", "y": "two.safetensors"}}'}
        | {"one.safetensors": ""},
    ],
)
def test_a_copy_without_all_weights_is_refused(cache: Path, files: dict[str, str]):
    put(cache, "a/part", files)
    with pytest.raises(ConfigError, match="lacks weights in the form of safetensors, or some of them"):
        model_folder("a/part")


@pytest.mark.parametrize("name", ["a/absent", "no name", "a/b/c"])
def test_what_is_nowhere_is_said(cache: Path, name: str):
    with pytest.raises(ConfigError, match=f"model '{name}' is no folder and cannot be fetched"):
        model_folder(name)
    assert read_model_file(name, "config.json") is None


def test_an_unreachable_hub_is_asked_once(cache: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    )
    started = time.monotonic()
    assert read_model_file("a/absent", "config.json") is None
    assert time.monotonic() - started < 5

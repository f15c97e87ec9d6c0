"""The files of an embedder that is kept with a corpus, so that both move as one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.errors import CorpusDamagedError, DataError
from ragkit.files import atomic_write, sha256_of, sync
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.vectors.vector_shards import stored_file

FOLDER = "models"
KIND, FORMER_KIND = "model", "former_model"
# Written beside the weights by whoever trained them.
TRAINED_FILE = "train.json"
_OTHER_WEIGHTS = {".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot", ".gguf", ".pkl"}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a model says of its training.

    base: what it was trained from. data: on what. made: when; "" where it does not say.
    """

    base: str
    data: str
    made: str


def check_keepable(source: Path) -> None:
    """Raises DataError where a folder holds no weights, or others than safetensors."""
    if not source.is_dir():
        raise DataError(f"there is no folder {source}; give the folder of a trained embedder")
    files = [path for path in source.rglob("*") if path.is_file()]
    other = sorted(path for path in files if path.suffix in _OTHER_WEIGHTS)
    if other or not any(path.suffix == ".safetensors" for path in files):
        found = f"holds {other[0].name}" if other else "holds no .safetensors file"
        raise DataError(f"{source} {found}; a corpus keeps safetensors alone: save the model in that form")


def keep_model(corpus: Path, source: Path, fingerprint: str) -> str:
    """Copy the files of a model that no state names yet, durably; returns their folder below the corpus.

    What is there already is left as it is; files that are not as in the source are written again.
    """
    folder = f"{FOLDER}/{fingerprint[:16]}"
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        kept = corpus / folder / name
        if not kept.is_file() or sha256_of(kept) != sha256_of(path):
            _copy(corpus, path, kept)
    return folder


def files_of(catalogue: Catalogue, folder: str) -> list[StoredFile]:
    """Those of a kept model, by its folder below the corpus."""
    files = [*catalogue.files(KIND), *catalogue.files(FORMER_KIND)]
    return [file for file in files if folder and file.path.startswith(f"{folder}/")]


def check_sound(catalogue: Catalogue, folder: str, error: Exception) -> None:
    """Raises CorpusDamagedError where a kept model that cannot be used, for `error`, is not as it was."""
    for file in files_of(catalogue, folder):
        path = catalogue.folder / file.path
        if not _is_sound(path, file):
            problem = "damaged" if path.is_file() else "missing"
            raise CorpusDamagedError(
                f"{path}, a file of the embedder of this corpus, is {problem}; restore it from a backup, "
                "or give the folder that the model came from to ragkit train accept"
            ) from error


def restore_model(corpus: Path, source: Path, folder: str, files: Sequence[StoredFile]) -> list[StoredFile]:
    """Copy what is lost or damaged of a kept model from where it came from; what is sound stays as it is.

    folder: of the model below the corpus; files: as the catalogue has them. Returns those that it has to have
    otherwise: a file beside the weights, such as train.json, may be another than it was.
    """
    changed = []
    for file in files:
        kept, path = corpus / file.path, source / Path(file.path).relative_to(folder)
        if not _is_sound(kept, file) and path.is_file():
            _copy(corpus, path, kept)
            found = stored_file(corpus, kept, file.kind, file.generation)
            changed += [found] if found != file else []
    return changed


def _is_sound(path: Path, file: StoredFile) -> bool:
    return path.is_file() and sha256_of(path) == file.sha256


def _copy(corpus: Path, path: Path, kept: Path) -> None:
    _make_folders(corpus, kept)
    with path.open("rb") as read, atomic_write(kept) as written:
        shutil.copyfileobj(read, written)


def _make_folders(corpus: Path, file: Path) -> None:
    """Those of a file below the corpus, so that their names survive a power cut."""
    for parent in reversed(file.relative_to(corpus).parents):
        if not (corpus / parent).is_dir():
            (corpus / parent).mkdir()
            sync((corpus / parent).parent)


def trained(folder: Path) -> Trained | None:
    """What the model in a folder says of its training; None where it says nothing that can be read."""
    try:
        said = json.loads((folder / TRAINED_FILE).read_text("utf-8"))
        return Trained(_name(said["base"]), str(said.get("data_folder", said["data"])), str(said.get("made", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _name(base: Any) -> str:
    return str(base["name"] if isinstance(base, dict) else base)

"""The files that a comparison was made from, each with its hash: by them a report can be made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ragkit.eval.runs.run_folder import FINISHED, MANIFEST
from ragkit.eval.runs.systems import RANKING, System
from ragkit.files import sha256_of


@dataclass(frozen=True, slots=True)
class ReadFile:
    """sha256: in hex."""

    path: Path
    sha256: str


def files_read(systems: Sequence[System], qrels: Path | None, data: Path | None) -> tuple[ReadFile, ...]:
    """Of each system what stands in its file or folder, then judgements, then texts where a folder has them."""
    paths = [path for system in systems for path in _files_of(system)]
    paths += [] if qrels is None else [qrels]
    paths += [] if data is None else [data / "queries.jsonl", data / "corpus.jsonl"]
    return tuple(ReadFile(path, sha256_of(path)) for path in dict.fromkeys(paths) if path.is_file())


def _files_of(system: System) -> Iterator[Path]:
    if system.manifest is None:
        yield system.path
    else:
        yield from (system.path / name for name in (RANKING, FINISHED, MANIFEST))

"""Attributes of files, from a file beside them.

A folder's ``attributes.jsonl`` says what its own files are; those in folders below have their own. A line is
``{"file": "report.pdf", "attributes": {"year": 2022, "dept": "legal"}}``; empty lines are passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ragkit.attributes import checked_attributes
from ragkit.indexers.readers.find_files import SIDECAR, Problem
from ragkit.records import AttributeValue

_LINE = '{"file": "NAME", "attributes": {"year": 2022}}'


@dataclass(slots=True)
class _Said:
    """What one sidecar says, by file name. whole: whether every line could be read."""

    by_name: dict[str, dict[str, AttributeValue]] = field(default_factory=dict)
    whole: bool = True


class Sidecars:
    """The sidecars of any number of folders, each read once.

    failed: lines that cannot be read. warnings: lines about files that are not there.
    """

    def __init__(self) -> None:
        self.failed: list[Problem] = []
        self.warnings: list[Problem] = []
        self._by_folder: dict[Path, _Said] = {}

    def of(self, path: Path) -> Mapping[str, AttributeValue] | None:
        """What is said of a file; None where a line that cannot be read may be about it."""
        folder = path.parent
        if folder not in self._by_folder:
            self._by_folder[folder] = self._read(folder)
        said = self._by_folder[folder]
        return said.by_name.get(path.name, {} if said.whole else None)

    def _read(self, folder: Path) -> _Said:
        said, sidecar = _Said(), folder / SIDECAR
        try:
            text = sidecar.read_text("utf-8-sig")
        except FileNotFoundError:
            return said
        except (OSError, UnicodeDecodeError) as error:
            self.failed.append(Problem(str(sidecar), f"the attributes cannot be read: {error}"))
            return _Said(whole=False)
        # Not splitlines: U+2028 and its like may stand in a JSON string.
        for number, line in enumerate(text.split("\n"), 1):
            try:
                if line.strip():
                    self._add(said, folder, f"{sidecar}, line {number}", line)
            except ValueError as error:
                said.whole = False
                reason = f"{error}; attributes of files that no other line names stay as they are"
                self.failed.append(Problem(f"{sidecar}, line {number}", reason))
        return said

    def _add(self, said: _Said, folder: Path, place: str, line: str) -> None:
        name, attributes = _parsed(line)
        if name in said.by_name:
            raise ValueError(f"{name!r} has a line above, which was taken")
        said.by_name[name] = attributes
        if not os.path.lexists(folder / name):
            self.warnings.append(Problem(place, f"there is no file {name!r} in this folder"))


def _parsed(line: str) -> tuple[str, dict[str, AttributeValue]]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON ({error}); expected {_LINE}") from error
    if not isinstance(value, dict) or set(value) != {"file", "attributes"}:
        raise ValueError(f"expected {_LINE}, found {line.strip():.100}")
    name, attributes = value["file"], value["attributes"]
    if not isinstance(name, str) or not name or "/" in name or "\0" in name:
        raise ValueError(f"file is {name!r:.100}; give the name of a file in the same folder")
    if not isinstance(attributes, dict):
        raise ValueError(f"attributes is {attributes!r:.100}, not an object")
    return name, checked_attributes(attributes)

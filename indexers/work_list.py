"""The documents that an indexing run looks at: which id each has, and which of the corpus's are gone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.prepare import content_hash_of, record_hash
from ragkit.indexers.readers.find_files import FoundFile, Problem
from ragkit.records import TextRecord


@dataclass(frozen=True, slots=True)
class Work:
    """One document to look at: a file, or a record in memory."""

    id: str
    origin: FoundFile | TextRecord

    @property
    def name(self) -> str:
        return str(self.origin.path) if isinstance(self.origin, FoundFile) else self.id

    @property
    def source(self) -> str:
        return str(self.origin.path) if isinstance(self.origin, FoundFile) else ""

    def content_hash(self) -> str:
        if isinstance(self.origin, FoundFile):
            return content_hash_of(self.origin.path)
        return record_hash(self.origin)


def work_on_files(files: Sequence[FoundFile], catalogue: Catalogue) -> list[Work]:
    """A file that is known keeps its document's id; another gets one that is free."""
    ids = catalogue.ids_by_source(str(file.path) for file in files)
    named = (name for file in files for name in (file.id, _marked_id(file)))
    taken = {id_: known.source for id_, known in catalogue.known_documents(named).items()}
    work: list[Work] = []
    for file in files:
        document_id = ids.get(str(file.path)) or _free_id(file, taken)
        taken[document_id] = str(file.path)
        work.append(Work(document_id, file))
    return work


def work_on_records(
    records: Sequence[TextRecord], catalogue: Catalogue, files: Sequence[Work]
) -> Iterator[Work | Problem]:
    """In order; a problem in the place of a record that cannot have its id. files: what else is indexed now."""
    ids = (record.id for record in records if _is_unicode(record.id))
    taken = {id_: known.source for id_, known in catalogue.known_documents(ids).items()}
    taken.update((item.id, item.source) for item in files)
    seen: set[str] = set()
    for record in records:
        problem = _problem_of_id(record.id, taken.get(record.id, ""), seen)
        seen.add(record.id)
        yield Problem(record.id, problem) if problem else Work(record.id, record)


def documents_gone(
    below: Sequence[Path], work: Sequence[Work], sources: Mapping[str, str]
) -> tuple[list[str], list[Problem]]:
    """Ids of documents whose file, below one of these folders, is gone; and warnings.

    sources: id -> path of the documents of the corpus. Below a folder in which nothing at all was found none
    is named: that is more often a disk that is not mounted, or a misspelt name, than an emptied folder.
    """
    current = {item.id for item in work}
    found = [Path(item.source) for item in work if item.source]
    missing = {
        id_: Path(source) for id_, source in sources.items() if id_ not in current and _is_gone(Path(source))
    }
    gone: list[str] = []
    warnings: list[Problem] = []
    for folder in below:
        here = [id_ for id_, source in missing.items() if source.is_relative_to(folder)]
        if here and not any(path.is_relative_to(folder) for path in found):
            reason = f"no file was found here, so {len(here)} documents whose files are gone were not removed"
            warnings.append(Problem(str(folder), reason))
        else:
            gone += here
    return gone, warnings


def _free_id(file: FoundFile, taken: dict[str, str]) -> str:
    """The file's own id; with a mark made of its path where a record or another existing file has that id."""
    holder = taken.get(file.id)
    if holder is None or (holder and _is_gone(Path(holder))):
        return file.id
    return _marked_id(file)


def _marked_id(file: FoundFile) -> str:
    mark = hashlib.sha256(str(file.path).encode()).hexdigest()[:8]
    name = PurePosixPath(file.id)
    return str(name.with_name(f"{name.stem}~{mark}{name.suffix}"))


def _problem_of_id(record_id: str, source: str, seen: set[str]) -> str:
    """Why a record cannot have its id; "" where it can."""
    if not record_id or "\0" in record_id or not _is_unicode(record_id):
        return f"{record_id!r} cannot be an id; give one that is not empty and is valid Unicode"
    if record_id in seen:
        return "this id was given twice in one call; the first record with it was taken"
    return f"the file {source} has this id; choose another" if source else ""


def _is_unicode(text: str) -> bool:
    return text.encode("utf-8", "ignore").decode() == text


def _is_gone(path: Path) -> bool:
    """Whether there is surely no such file; one that may not be looked at is not gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False

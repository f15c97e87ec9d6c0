"""From paths, folders and glob patterns to the files to read, each file once."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ragkit.errors import DocumentError
from ragkit.indexers.readers.media_types import kind_by_content, kind_by_suffix
from ragkit.records import AttributeValue, FileRecord

_WILDCARDS = frozenset("*?[")
# A folder that holds these is a corpus: its files are records of documents, not documents.
_CORPUS_FILES = frozenset({"manifest.json", "catalogue.sqlite"})
SIDECAR = "attributes.jsonl"
"""The file that holds attributes of the files beside it; see sidecar.py."""

_A_CORPUS = "a corpus of ragkit, not documents to read"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read.

    path: absolute; links are not followed in it.
    id: for a file below a folder its path relative to that folder, with forward slashes; for a
        file given by itself its name.
    name: what it is called, where its path does not say so. attributes: its own; None: as a sidecar says.
    """

    path: Path
    id: str
    name: str = ""
    attributes: Mapping[str, AttributeValue] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A path and what is wrong with it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FileList:
    """What `find_files` found.

    files: ordered by id, then path; each real file once.
    failed: asked for and not to be had. skipped: met in a folder, of no kind that is read.
    """

    files: tuple[FoundFile, ...]
    failed: tuple[Problem, ...]
    skipped: tuple[Problem, ...]


def find_files(paths: Sequence[str | Path]) -> FileList:
    """Walk folders, expand glob patterns (`*`, `?`, `[a-z]`, `**`) and take files as they are.

    Links are followed; each folder is entered once and each file listed once, whatever the number
    of ways that lead to it. Names that begin with a dot are passed over, unless given themselves;
    so are `SIDECAR` files, and what lies in the folder of a corpus.
    """
    search = _Search()
    for path in paths:
        search.add(os.fspath(path))
    files = sorted(search.files, key=lambda file: (file.id, str(file.path)))
    return FileList(tuple(files), tuple(search.failed), tuple(search.skipped))


def with_records(files: FileList, records: Sequence[FileRecord]) -> FileList:
    """The list with files that are given with names and attributes of their own."""
    named = [FoundFile(record.path, record.id, record.name, record.attributes) for record in records]
    return replace(files, files=(*files.files, *named)) if named else files


def fixed_part(path: str | Path) -> Path:
    """A path or glob pattern as an absolute path, up to its first wildcard unless a file has that very name."""
    whole = _absolute(Path(path).expanduser())
    if os.path.lexists(whole):
        return whole
    wild = (i for i, part in enumerate(whole.parts) if _WILDCARDS.intersection(part))
    return Path(*whole.parts[: next(wild, len(whole.parts))])


class _Search:
    """The state of one call of `find_files`."""

    def __init__(self) -> None:
        self.files: list[FoundFile] = []
        self.failed: list[Problem] = []
        self.skipped: list[Problem] = []
        self._seen: set[tuple[int, int]] = set()

    def add(self, text: str) -> None:
        if not text:
            self.failed.append(Problem(text, "an empty path"))
            return
        path = _absolute(Path(os.path.expanduser(text)))
        if _WILDCARDS.intersection(text) and not os.path.lexists(path):
            self._add_pattern(text, path)
        elif os.path.isdir(path):
            if all(os.path.isfile(path / name) for name in _CORPUS_FILES):
                self.failed.append(Problem(str(path), _A_CORPUS))
                return
            for found in self._below(path, ("**",)):
                self._add_found(found, path)
        else:
            self._add_named(path)

    def _add_pattern(self, text: str, path: Path) -> None:
        folder = fixed_part(text)
        wild = path.parts[len(folder.parts) :]
        found = self._below(folder, wild) if os.path.isdir(folder) else []
        if not found:
            self.failed.append(Problem(text, "no file matches this pattern"))
        for file in found:
            self._add_found(file, folder)

    def _add_named(self, path: Path) -> None:
        """A file that was asked for by its own name: whatever speaks against it is a failure."""
        try:
            if path.name == SIDECAR:
                raise DocumentError("it holds attributes of the files beside it; index those")
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DocumentError(_reason_for_mode(status.st_mode))
            if kind_by_suffix(path) is None:
                kind_by_content(path)
        except (OSError, DocumentError) as error:
            self.failed.append(Problem(str(path), _reason_of(error)))
            return
        self._add_file(path, path.name, status)

    def _add_found(self, path: Path, folder: Path) -> None:
        """A file met in a folder: one that is of no kind that is read is skipped."""
        if path.name == SIDECAR:
            return
        try:
            status = path.stat()
        except OSError as error:
            if os.path.islink(path) and not isinstance(error, PermissionError):
                self.skipped.append(Problem(str(path), "a link that leads nowhere"))
            else:
                self.failed.append(Problem(str(path), _reason_of(error)))
            return
        if not stat.S_ISREG(status.st_mode):
            self.skipped.append(Problem(str(path), _reason_for_mode(status.st_mode)))
        elif kind_by_suffix(path) or self._shows_its_kind(path):
            self._add_file(path, PurePosixPath(path.relative_to(folder)).as_posix(), status)

    def _shows_its_kind(self, path: Path) -> bool:
        try:
            kind = kind_by_content(path)
        except OSError as error:
            self.failed.append(Problem(str(path), _reason_of(error)))
            return False
        except DocumentError as error:
            self.skipped.append(Problem(str(path), str(error)))
            return False
        if kind is None:
            suffix = f"the suffix {path.suffix}" if path.suffix else "a name without suffix"
            reason = f"{suffix} stands for no kind that is read; give the file's own path to read it as text"
            self.skipped.append(Problem(str(path), reason))
        return kind is not None

    def _add_file(self, path: Path, name: str, status: os.stat_result) -> None:
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return
        self._seen.add(identity)
        if not _is_unicode(str(path)):
            self.failed.append(Problem(ascii(str(path)), "the name is not valid Unicode; rename the file"))
            return
        self.files.append(FoundFile(path, name))

    def _below(self, folder: Path, parts: tuple[str, ...]) -> list[Path]:
        """Files whose path below `folder` matches `parts`; a folder that matches stands for all below it.

        What is reached through a link comes last, so that a file is known by its real place if that
        is below `folder` too.
        """
        found: list[Path] = []
        stack = [(folder, parts)]
        links: list[tuple[Path, tuple[str, ...]]] = []
        entered: set[tuple[int, int, int]] = set()
        while stack or links:
            here, wanted = stack.pop() if stack else links.pop(0)
            if not _enter(here, len(wanted), entered):
                continue
            if wanted[0] == "**" and len(wanted) > 1:
                stack.append((here, wanted[1:]))
            folders: list[tuple[Path, tuple[str, ...]]] = []
            for entry in self._entries(here):
                rest = _rest_after(entry.name, wanted)
                if rest is not None and os.path.isdir(entry):
                    (links if os.path.islink(entry) else folders).append((entry, rest or ("**",)))
                elif rest == () or wanted == ("**",):
                    found.append(entry)
            stack += reversed(folders)
        return sorted(found, key=os.path.islink)

    def _entries(self, folder: Path) -> list[Path]:
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            problem = Problem(str(folder), f"the folder cannot be read: {error.strerror}")
            if problem not in self.failed:
                self.failed.append(problem)
            return []
        if _CORPUS_FILES.issubset(names):
            problem = Problem(str(folder), _A_CORPUS)
            if problem not in self.skipped:
                self.skipped.append(problem)
            return []
        return [folder / name for name in names if not name.startswith(".")]


def _enter(folder: Path, num_parts: int, entered: set[tuple[int, int, int]]) -> bool:
    """Whether a folder is seen for the first time with so many parts of the pattern left to match."""
    try:
        status = folder.stat()
    except OSError:
        return True  # listing it fails too, and that is where it is reported
    key = (status.st_dev, status.st_ino, num_parts)
    new = key not in entered
    entered.add(key)
    return new


def _rest_after(name: str, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    """What is left to match below an entry of that name; None where the entry does not match."""
    if wanted[0] == "**":
        return wanted
    return wanted[1:] if fnmatch.fnmatchcase(name, wanted[0]) else None


def _absolute(path: Path) -> Path:
    """Absolute, without "..": only what stands before the last ".." is resolved through links."""
    parts = path.absolute().parts
    if ".." not in parts:
        return path.absolute()
    cut = len(parts) - parts[::-1].index("..")
    return Path(os.path.realpath(Path(*parts[:cut])), *parts[cut:])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason_of(error: OSError | DocumentError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def _reason_for_mode(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return f"{kinds.get(stat.S_IFMT(mode), 'not a regular file')}, not a file to read"

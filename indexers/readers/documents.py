"""One file, whatever its kind, as pages of text."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from ragkit.config import DocumentsConfig
from ragkit.errors import DocumentError, UnsupportedFileError
from ragkit.indexers.readers import media_types
from ragkit.indexers.readers.media_types import kind_by_content, kind_by_suffix
from ragkit.indexers.readers.reading import PageSource, Reading
from ragkit.protocols import OcrEngine, Renderer
from ragkit.records import Page


class OpenDocument:
    """A file open for reading; a context manager.

    warnings: what should be known about the reading ("page 3: …"); filled while pages are read.
    """

    def __init__(
        self, reading: Reading, called: str, media_type: str, source: PageSource, status: os.stat_result
    ) -> None:
        self.media_type = media_type
        self.title = title_of(Path(called))
        self.num_pages = source.num_pages
        self.warnings = reading.warnings
        self._path = reading.path
        self._not_installed = reading.not_installed
        self._source = source
        self._status = status

    @property
    def incomplete(self) -> bool:
        """Whether something was left out so far that a library which is not installed would read."""
        return bool(self._not_installed)

    def pages(self) -> Iterator[Page]:
        """The pages in order, read one at a time.

        Raises:
            DocumentError: the file turns out to be damaged, or vanished or changed meanwhile.
        """
        try:
            yield from self._source.pages()
        except OSError as error:
            raise DocumentError(f"the file cannot be read: {error.strerror or error}") from error
        finally_there = _status_of(self._path)
        if _version(finally_there) != _version(self._status):
            raise DocumentError("the file changed while it was read; index it again")

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> OpenDocument:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_document(
    path: Path,
    config: DocumentsConfig,
    renderer: Renderer,
    ocr: Callable[[], OcrEngine],
    password: str | None = None,
    known: Mapping[int, Page] | None = None,
    read_by_ocr: Callable[[Page], None] = lambda _: None,
    called: str = "",
) -> OpenDocument:
    """Open a file as what its content is; `ocr` gives the OCR engine when a page first needs it.

    Args:
        known: pages that were read by OCR before, by number; they are not read again.
        read_by_ocr: called with each page that is.
        called: the file's name, where its path does not say so.

    Raises:
        PasswordError: the file is encrypted and the password is missing or wrong.
        DocumentError: the file is missing, not regular, empty, damaged, or of no kind that is read.
        MissingExtraError: the library that reads this kind is not installed.
    """
    reading = Reading(path, config, renderer, ocr, password, known=known or {}, read_by_ocr=read_by_ocr)
    try:
        status = _status_of(path)
        media_type, warnings = media_type_of(path, called)
        reading.warnings.extend(warnings)
        source = _open_source(reading, media_type)
        return OpenDocument(reading, called or path.name, media_type, source, status)
    except OSError as error:
        raise DocumentError(f"the file cannot be read: {error.strerror or error}") from error


def title_of(path: Path) -> str:
    """A title made of the file's name: titles inside of files are too often those of a template."""
    return re.sub(r"[_\s]+", " ", path.stem).strip() or path.name


def _status_of(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise DocumentError("the file is gone") from error
    if not stat.S_ISREG(status.st_mode):
        raise DocumentError("not a regular file")
    return status


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def media_type_of(path: Path, called: str = "") -> tuple[str, list[str]]:
    """The kind that the content shows, and warnings; among texts the suffix of the file's name decides.

    Raises:
        OSError: the file cannot be read.
        UnsupportedFileError: it is of no kind that is read.
        DocumentError: it is empty or damaged.
    """
    named, shown = kind_by_suffix(Path(called) if called else path), kind_by_content(path, called)
    if shown is None:
        if named is not None and named not in media_types.TEXTS:
            raise UnsupportedFileError(f"the name says {named}, the content is none of the kinds that are read")
        return named or media_types.TEXT, []
    if named is not None and named != shown:
        return shown, [f"the name says {named}, the content is {shown}: read as {shown}"]
    return shown, []


def _open_source(reading: Reading, media_type: str) -> PageSource:
    if media_type == media_types.PDF:
        from ragkit.indexers.readers.pdf import PdfPages

        return PdfPages(reading)
    if media_type in media_types.IMAGES:
        from ragkit.indexers.readers.images import ImagePages

        return ImagePages(reading, media_type)
    if media_type in media_types.TEXTS:
        from ragkit.indexers.readers.markup import open_text

        return open_text(reading, media_type)
    from ragkit.indexers.readers.office import open_office

    return open_office(reading, media_type)

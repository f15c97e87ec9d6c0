"""From a file or a record to a `NewDocument`: read, hash, split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ragkit.config import DocumentsConfig, PagesConfig, PassagesConfig
from ragkit.errors import DocumentError
from ragkit.files import sha256_of
from ragkit.indexers.new_document import NewDocument
from ragkit.indexers.page_images import DRAWABLE
from ragkit.indexers.readers.documents import open_document
from ragkit.indexers.readers.find_files import FoundFile
from ragkit.indexers.split import split_text
from ragkit.indexers.unfinished import RememberedPages
from ragkit.protocols import OcrEngine, Renderer, Tokenizer
from ragkit.records import Page, TextRecord

# Raised when passages come out otherwise from the same file and settings, so that files are read anew.
READER_VERSION = 1
_READ_AGAIN = "incomplete"


@dataclass(frozen=True)
class Preparer:
    """Makes documents ready for storing, all with the same settings.

    max_pages: documents of more are refused; 0: none is.
    """

    documents: DocumentsConfig
    passages: PassagesConfig
    tokenizer: Tokenizer
    renderer: Renderer
    ocr: Callable[[], OcrEngine]
    pages: PagesConfig
    password: str | None = None
    max_pages: int = 0

    @cached_property
    def settings_hash(self) -> str:
        """Digest of all that decides which passages a file gives."""
        facts = [
            READER_VERSION,
            self.documents.model_dump(),
            self.passages.model_dump(),
            self.max_tokens,
        ]
        if self.draws:
            facts.append([self.pages.embed, self.pages.dpi])
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def draws(self) -> bool:
        """Whether pages are embedded as pictures."""
        return self.pages.embed in ("image", "both")

    @property
    def max_tokens(self) -> int:
        """Tokens a passage may have, its title counted."""
        own = self.tokenizer.max_tokens
        return min(self.passages.max_tokens or own, own)

    def from_file(
        self,
        file: FoundFile,
        content_hash: str,
        remembered: RememberedPages,
        tell: Callable[[int, int], None] = lambda _, __: None,
    ) -> tuple[NewDocument, list[str]]:
        """Read a file's pages: their text, or only how many there are. The strings are warnings about it.

        tell: called with the number of pages read so far, and of all.

        Raises:
            NotDrawableError: only pictures are embedded, and files of this kind have none.
            DocumentError: the file cannot be read, has too many pages, or it changed while it was read.
        """
        path, known, remember = file.path, remembered.pages(), remembered.add
        with open_document(
            path, self.documents, self.renderer, self.ocr, self.password, known, remember, file.name
        ) as opened:
            if 0 < self.max_pages < opened.num_pages:
                raise DocumentError(f"it has {opened.num_pages} pages; at most {self.max_pages} are indexed")
            tell(0, opened.num_pages)
            if self.pages.embed == "image":
                _check_drawable(opened.media_type)
                pages = [Page(number, "") for number in range(1, opened.num_pages + 1)]
            else:
                pages = []
                for page in opened.pages():
                    pages.append(page)
                    tell(len(pages), opened.num_pages)
            title, media_type, warnings = opened.title, opened.media_type, list(opened.warnings)
            incomplete = opened.incomplete
        check_unchanged(path, content_hash)
        document = self._document(file.id, title, pages, str(path), media_type, content_hash)
        if incomplete:
            # Never equal to a settings hash: the file is read again when the missing library may be there.
            document = replace(document, settings_hash=_READ_AGAIN)
        if not document.passages and not (self.draws and media_type in DRAWABLE):
            warnings.append("no text was found, so no search will find this document")
        return document, warnings

    def from_record(self, record: TextRecord) -> NewDocument:
        """Make a document of one page from a text in memory, without its attributes.

        Raises:
            NotDrawableError: only pictures are embedded.
        """
        if self.pages.embed == "image":
            raise NotDrawableError(
                "a text in memory has no pages to draw; add it to a corpus of texts, or of both"
            )
        content_hash = record_hash(record)
        return self._document(record.id, record.title, [Page(1, record.text)], "", "text/plain", content_hash)

    def _document(
        self, document_id: str, title: str, pages: list[Page], source: str, media_type: str, content_hash: str
    ) -> NewDocument:
        title, pages = clean_text(title), [replace(page, text=clean_text(page.text)) for page in pages]
        return NewDocument(
            id=document_id,
            title=title,
            source=source,
            media_type=media_type,
            content_hash=content_hash,
            settings_hash=self.settings_hash,
            pages=pages,
            passages=self._passages(title, pages),
        )

    def _passages(self, title: str, pages: Sequence[Page]) -> list[tuple[int, int, int]]:
        if self.passages.split == "none":
            return [
                (page.number, len(page.text) - len(page.text.lstrip()), len(page.text.rstrip()))
                for page in pages
                if page.text.strip()
            ]
        spans = self.tokenizer.token_spans([title, *(page.text for page in pages)])
        # A title may take at most half of a passage; the embedder cuts off what is beyond its limit.
        room = max(self.max_tokens - len(spans[0]), self.max_tokens // 2)
        return [
            (page.number, start, end)
            for page, tokens in zip(pages, spans[1:], strict=True)
            for start, end in split_text(page.text, tokens, room, self.passages.overlap_tokens)
        ]


def digest_of(content_hash: str, settings_hash: str) -> str:
    """What unfinished pages hang on: equal as long as the same pages would come out again."""
    return f"{content_hash} {settings_hash}"


def check_unchanged(path: Path, content_hash: str) -> None:
    """Raises DocumentError where a file is no longer what it was."""
    if content_hash_of(path) != content_hash:
        raise DocumentError("the file changed while it was read; run the same command again")


class NotDrawableError(DocumentError):
    """A file of a kind that has no pages to draw, in a corpus of pictures alone."""


def _check_drawable(media_type: str) -> None:
    if media_type not in DRAWABLE:
        raise NotDrawableError(
            f"a file of kind {media_type} has no pages to draw; index it with --pages text or --pages both"
        )


def clean_text(text: str) -> str:
    """The text with what cannot be stored replaced, character by character: NUL, and lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def content_hash_of(path: Path) -> str:
    """Hex SHA-256 of a file. Raises DocumentError where it cannot be read."""
    try:
        return sha256_of(path)
    except FileNotFoundError as error:
        raise DocumentError("the file is gone") from error
    except OSError as error:
        raise DocumentError(f"the file cannot be read: {error.strerror}") from error


def record_hash(record: TextRecord) -> str:
    """Hex SHA-256 of a record's text and title; attributes change without the text being embedded again."""
    facts = [record.text, record.title, {}]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

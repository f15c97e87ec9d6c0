"""What of the hits an engine gets to see: their text, or the pictures of their pages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragkit.errors import CorpusError, DocumentError
from ragkit.pictures import scaled_down
from ragkit.protocols import PassageStore
from ragkit.records import Hit, Page, PageImage, Passage

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger("ragkit.serve")
_PageKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """One hit a source, in the order of the prompt: first those shown as `pictures`, then those shown as text.

    A hit shown as a picture has no text; one shown as text has no image. notes: what was left out, and why.
    """

    hits: tuple[Hit, ...]
    pictures: tuple[Image, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PictureBudget:
    """num_pages: that are to be shown; max_images: that the engine still takes, and for which `limit`;
    max_pixels: of each."""

    num_pages: int
    max_images: int
    max_pixels: int
    limit: str = "max_images"


def any_picture(hits: Sequence[Hit], store: PassageStore) -> bool:
    """Whether the page of any hit has a picture."""
    return any(_picture_of(hit, store) is not None for hit in hits)


def show_text(hits: Sequence[Hit], store: PassageStore, advice: str) -> Shown:
    """The hits as text; a page that was found by its picture is shown by its text where the corpus has it.

    advice: what to do about pages that have none, for the note that names them.
    """
    seen = {_key(hit) for hit in hits if hit.passage.text}
    shown: list[Hit] = []
    unread: list[Hit] = []
    for hit in hits:
        if hit.passage.text:
            shown.append(hit)
        elif _key(hit) not in seen:
            seen.add(_key(hit))
            text_hit = _by_page_text(hit, store)
            (shown if text_hit else unread).append(text_hit or hit)
    if not unread:
        return Shown(tuple(shown))
    is_are, it = ("is a picture", "it") if len(unread) == 1 else ("are pictures", "them")
    note = f"{_named(unread)} {is_are} without text, and the engine did not get to see {it}: {advice}"
    return Shown(tuple(shown), notes=(note,))


def show_pages(hits: Sequence[Hit], store: PassageStore, budget: PictureBudget, *, with_text: bool) -> Shown:
    """The first pages of the hits as pictures, in rank order, each once.

    with_text: the text that was retrieved is shown beside them, as sources of its own. Without it, text is
    shown only of pages without a picture here: they have none, it cannot be loaded, or it is one too many.
    """
    return _PageShow(store, budget, with_text).show(hits)


class _PageShow:
    def __init__(self, store: PassageStore, budget: PictureBudget, with_text: bool) -> None:
        self._store, self._budget, self._with_text = store, budget, with_text
        self._pages: list[Hit] = []
        self._pictures: list[Image] = []
        self._texts: list[Hit] = []
        self._seen: set[_PageKey] = set()
        self._by_text: set[_PageKey] = set()
        self._surplus: list[Hit] = []
        self._refused: list[Hit] = []
        self._notes: list[str] = []
        self._found: dict[_PageKey, PageImage] = {}
        self._with_passages: set[_PageKey] = set()

    def show(self, hits: Sequence[Hit]) -> Shown:
        # A page found by its text first may bring its picture with a later hit, and the other way round.
        self._found = {_key(hit): hit.passage.image for hit in reversed(hits) if hit.passage.image}
        self._with_passages = {_key(hit) for hit in hits if hit.passage.text}
        for hit in hits:
            if _key(hit) not in self._seen:
                self._seen.add(_key(hit))
                self._show_picture(hit)
            if hit.passage.text and (self._with_text or _key(hit) in self._by_text):
                self._texts.append(replace(hit, passage=replace(hit.passage, image=None)))
        shown = (*self._pages, *self._texts)
        return Shown(shown, tuple(self._pictures), tuple([*self._notes, *self._left_out()]))

    def _show_picture(self, hit: Hit) -> None:
        picture = self._found.get(_key(hit)) or _picture_of(hit, self._store)
        if picture is None:
            self._by_text.add(_key(hit))
        elif len(self._pictures) >= self._budget.num_pages:
            self._by_text.add(_key(hit))
            self._surplus.append(hit)
        elif len(self._pictures) >= self._budget.max_images:
            self._show_text(hit)
            self._refused.append(hit)
        else:
            self._load(hit, picture)

    def _show_text(self, hit: Hit) -> bool:
        """What was retrieved of the page's text, or else all that is known of it; whether there is any."""
        self._by_text.add(_key(hit))
        if _key(hit) in self._with_passages:
            return True
        text_hit = _by_page_text(hit, self._store)
        self._texts += [text_hit] if text_hit else []
        return text_hit is not None

    def _load(self, hit: Hit, picture: PageImage) -> None:
        try:
            image = scaled_down(picture.load(), self._budget.max_pixels)
        except (DocumentError, CorpusError) as error:
            # What it says may name files that clients are not to see.
            _log.warning("the picture of %s cannot be loaded: %s", _named([hit]), error)
            instead = "its text was shown instead" if self._show_text(hit) else "it was left out"
            self._notes.append(f"The picture of {_named([hit])} cannot be loaded (the log says why); {instead}.")
            return
        passage = hit.passage
        page = Passage(passage.key, passage.document, passage.page, 0, 0, "", passage.title, picture)
        self._pages.append(replace(hit, passage=page))
        self._pictures.append(image)

    def _left_out(self) -> list[str]:
        notes = []
        if self._refused:
            notes.append(
                f"The engine takes {_pages(self._budget.max_images)} as pictures in this request "
                f"({self._budget.limit}); not shown as pictures: {_named(self._refused)}."
            )
        if self._surplus:
            notes.append(
                f"Only {len(self._pictures)} of the {len(self._seen)} pages found were shown as pictures "
                "(num_pages)."
            )
        return notes


def page_or_none(store: PassageStore, document: str, number: int) -> Page | None:
    """None where the store does not give the page, as when the document has gone since the search."""
    try:
        return store.page(document, number)
    except CorpusError as error:
        _log.warning("a page that was found cannot be read: %s", error)
        return None


def _picture_of(hit: Hit, store: PassageStore) -> PageImage | None:
    if hit.passage.image is not None:
        return hit.passage.image
    try:
        return store.page_image(*_key(hit))
    except CorpusError as error:
        _log.warning("a page that was found has no picture: %s", error)
        return None


def _by_page_text(hit: Hit, store: PassageStore) -> Hit | None:
    page = page_or_none(store, *_key(hit))
    if page is None or not page.text.strip():
        return None
    passage = replace(hit.passage, text=page.text, start=0, end=len(page.text), image=None)
    return replace(hit, passage=passage)


def _key(hit: Hit) -> _PageKey:
    return hit.passage.document, hit.passage.page


def _named(hits: Sequence[Hit]) -> str:
    return ", ".join(f"{document} page {page}" for document, page in dict.fromkeys(map(_key, hits)))


def _pages(number: int) -> str:
    return "1 page" if number == 1 else f"{number} pages"

"""GET /v1/ragkit/pages/{corpus}/{page}: what citations lead to."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from ragkit.errors import CorpusDamagedError, CorpusError, DocumentError
from ragkit.serve.api.http_errors import HttpProblem, problem_of
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.guards.request_id import request_id_of
from ragkit.serve.pages.page_form import wanted_form
from ragkit.serve.pages.page_html import HEADERS, page_html
from ragkit.serve.pages.page_links import PATH, Span
from ragkit.serve.pages.page_view import PageView, view_page
from ragkit.serve.pages.picture_press import PicturePress, PrintedPage

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_MOST_SPANS = 64
_SPAN = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_WIDTHS = range(16, 4001)
# Pages may be indexed anew, so clients ask again, with the ETag of what they have.
_CACHING = {"cache-control": "private, max-age=300", "vary": "accept"}
_FORMS = ("html", "image", "json")
_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "text/html")
# What leads from a page to the server's address: up the parts of its path but the last.
_TO_ROOT = "../" * (PATH.count("/") + 1)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What a request for a page asks for. form: "html", "image" or "json"; "" for what suits the page."""

    document: str
    number: int
    spans: tuple[Span, ...] = ()
    check: str = ""
    width: int | None = None
    form: str = ""


def add_page_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Pages as pictures with the cited words in boxes, as HTML for people, as JSON for programs."""
    from starlette.requests import Request
    from starlette.responses import Response

    press = PicturePress()

    @app.head(PATH + "/{corpus}/{page}", response_model=None, include_in_schema=False)
    @app.get(
        PATH + "/{corpus}/{page}",
        response_model=None,
        responses={200: {"content": {kind: {} for kind in _MEDIA_TYPES}}, 304: {"description": "Not changed"}},
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def page(corpus: str, page: str, request: Request) -> Response:
        query = page_query(page, request.query_params, request.headers.get("accept", ""))
        _check_signature(parts, corpus, query, request.query_params)
        view = await asyncio.to_thread(_view, parts, corpus, query)
        form = query.form or ("image" if view.picture is not None else "html")
        if form == "json":
            return _reply(request, view.as_json())
        if form == "html":
            link = _picture_link(request, query)
            title = await asyncio.to_thread(parts.title, corpus)
            return _reply(request, page_html(view, _TO_ROOT, link, title))
        return _reply(request, await _picture(press, view, query, request))


def page_query(page: str, parameters: Mapping[str, str], accept: str) -> PageQuery:
    """Check what a request says.

    Raises:
        HttpProblem: 404 where `page` is no number, 400 where a parameter is missing or wrong.
    """
    if not _NUMBER.fullmatch(page):
        raise HttpProblem(404, f"{page!r:.40} is no page number", param="page")
    if not parameters.get("document"):
        raise HttpProblem(400, "the parameter document names the page's document; it is missing", param="document")
    return PageQuery(
        parameters["document"],
        int(page),
        _spans(parameters.get("spans", "")),
        parameters.get("check", ""),
        _width(parameters.get("width")),
        _form(parameters.get("format")) or wanted_form(accept),
    )


def _spans(text: str) -> tuple[Span, ...]:
    if not text:
        return ()
    spans: list[Span] = []
    for part in text.split(",", _MOST_SPANS)[: _MOST_SPANS + 1]:
        match = _SPAN.fullmatch(part)
        if match is None or int(match[1]) >= int(match[2]) or len(spans) == _MOST_SPANS:
            raise HttpProblem(
                400,
                f"spans = {text!r:.80}; expected at most {_MOST_SPANS} of start-end, such as 120-180,200-210",
                param="spans",
            )
        spans.append((int(match[1]), int(match[2])))
    return tuple(spans)


def _width(text: str | None) -> int | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or int(text) not in _WIDTHS:
        raise HttpProblem(
            400, f"width = {text!r:.40}; expected pixels from {_WIDTHS[0]} to {_WIDTHS[-1]}", param="width"
        )
    return int(text)


def _form(text: str | None) -> str:
    if text is not None and text not in _FORMS:
        raise HttpProblem(400, f"format = {text!r:.40}; known: {', '.join(_FORMS)}", param="format")
    return text or ""


def _check_signature(parts: ServerParts, corpus: str, query: PageQuery, parameters: Mapping[str, str]) -> None:
    if parts.signer is None or "signature" not in parameters:
        return
    if not parts.signer.accepts(corpus, query.document, query.number, parameters):
        raise HttpProblem(
            403, "this link to a page has expired or was altered; ask the question again", code="link_expired"
        )


def _view(parts: ServerParts, corpus: str, query: PageQuery) -> PageView:
    store = parts.corpus(corpus).store
    try:
        return view_page(corpus, store, query.document, query.number, query.spans, query.check)
    except CorpusDamagedError:
        raise
    except CorpusError as error:
        message = f"the corpus {corpus!r} has no page {query.number} of a document {query.document!r:.200}"
        raise HttpProblem(404, message, param="document", code="page_not_found") from error


async def _picture(press: PicturePress, view: PageView, query: PageQuery, request: "Request") -> PrintedPage:
    if view.picture is None:
        message = (
            f"page {query.number} of {query.document!r:.200} has no picture; as 'text/html' it shows its text"
        )
        raise HttpProblem(404, message, code="page_without_picture")
    try:
        return await press.print(view, query.width)
    except DocumentError as error:
        request_id = request_id_of(request)
        problem_of(error, request_id)
        message = (
            f"page {query.number} of {query.document!r:.200} cannot be drawn; the server's log says why, under "
            f"request {request_id}"
        )
        raise HttpProblem(404, message, code="page_not_drawn") from error


def _picture_link(request: "Request", query: PageQuery) -> str:
    """The bare picture of the page, beside its HTML."""
    kept = {name: request.query_params[name] for name in ("expires", "signature") if name in request.query_params}
    parameters = {"document": query.document, "format": "image", **kept}
    return f"{query.number}?{urlencode(parameters, quote_via=quote, errors='replace')}"


def _reply(request: "Request", content: "PrintedPage | str | dict[str, Any]") -> "Response":
    from starlette.responses import HTMLResponse, JSONResponse, Response

    if isinstance(content, str):
        return HTMLResponse(content, headers={**_CACHING, **HEADERS})
    if isinstance(content, dict):
        return JSONResponse(content, headers=_CACHING)
    headers = {**_CACHING, "etag": content.etag, "x-content-type-options": "nosniff"}
    if content.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content.content, media_type=content.media_type, headers=headers)


def _parameter(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": {"type": "string", **schema},
    }


_PARAMETERS = [
    _parameter("document", "The document's id.", required=True, minLength=1),
    _parameter(
        "spans",
        "Characters of the page's text to mark: 120-180,200-210.",
        pattern=r"^[0-9]{1,9}-[0-9]{1,9}(,[0-9]{1,9}-[0-9]{1,9}){0,63}$",
    ),
    _parameter("check", "What a citation's link holds of the words that it marks."),
    _parameter("width", "Of the picture, in pixels.", type="integer", minimum=_WIDTHS[0], maximum=_WIDTHS[-1]),
    _parameter("format", "Without it, what the request accepts decides.", enum=list(_FORMS)),
    _parameter("expires", "Of a signed link."),
    _parameter("signature", "Of a signed link."),
]

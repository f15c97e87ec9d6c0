"""Why a link to a page shows none, as a page for those who open it in a browser."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.pages.page_form import wanted_form
from ragkit.serve.pages.page_html import HEADERS, html_document
from ragkit.serve.pages.page_links import PATH

if TYPE_CHECKING:
    from starlette.types import Scope

_TITLE = "This page cannot be shown"
_HEADERS = {**HEADERS, "cache-control": "no-store", "vary": "accept", "content-type": "text/html; charset=utf-8"}


def problem_page(scope: Scope, problem: HttpProblem) -> tuple[str, dict[str, str]] | None:
    """The page and its headers, where a browser asked for a document's page; None where JSON is the answer."""
    below = scope["path"].removeprefix(f"{PATH}/")
    if below == scope["path"] or not _is_browser(scope):
        return None
    root = "../" * (PATH.count("/") + below.count("/"))
    body = (
        f'<main lang="en"><h1>{_TITLE}</h1><p class="changed" role="note">{escape(problem.message)}</p>'
        f'<p><a href="{root or "./"}">Ask a question</a></p></main>'
    )
    return html_document(_TITLE, body, root), {**problem.headers, **_HEADERS}


def _is_browser(scope: Scope) -> bool:
    accepted = b", ".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    forms = parse_qs(scope["query_string"].decode("latin-1")).get("format", ["html"])
    # Programs that want a page as HTML still read errors as JSON.
    return wanted_form(accepted) == "html" and "html" in forms

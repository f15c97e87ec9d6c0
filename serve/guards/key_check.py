"""Asks every request for its API key."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.guards.api_keys import ApiKeys
from ragkit.serve.guards.caller import ANYONE, NOBODY, Caller, become
from ragkit.serve.guards.problem_reply import send_problem
from ragkit.serve.guards.request_record import current_record
from ragkit.serve.pages.page_links import PATH as PAGES
from ragkit.serve.pages.page_links import LinkSigner

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# The web page asks for a key itself; what it is made of holds nothing of the corpora.
_WEB = frozenset({"/", "/favicon.ico"})
_WEB_BELOW = "/web/"
_STATE = frozenset({"/health", "/ready"})
_STORES = "/v1/vector_stores"
_FILES = "/v1/files"
LINK_HOLDER = "link"


class KeyCheckMiddleware:
    """401 without a known key, 403 where it may not do that; a signed link opens its one page."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, signer: LinkSigner, open_metrics: bool) -> None:
        self._app = app
        self._keys = keys
        self._signer = signer
        self._state = _STATE | ({"/metrics"} if open_metrics else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = self._without_key(scope) or self._caller(scope)
            _check_allowed(caller, scope["method"], scope["path"])
        except HttpProblem as problem:
            await send_problem(send, problem, scope)
            return
        become(caller)
        if record := current_record():
            record.key = caller.name
        await self._app(scope, receive, send)

    def _without_key(self, scope: Scope) -> Caller | None:
        """Who asks for what is open: the web page, the server's state, a page with a signed link."""
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            return None
        if path in self._state:
            return ANYONE
        if path in _WEB or path.startswith(_WEB_BELOW):
            return NOBODY
        return self._link_holder(scope)

    def _caller(self, scope: Scope) -> Caller:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = given[0].decode("latin-1").partition(" ") if given else ("", "", "")
        if (scheme.lower() != "bearer" or not key.strip()) and _is_signed(scope):
            raise _unauthorized(
                "this link to a page has expired or was altered; ask the question again for a new one, or "
                "send an API key",
                "link_expired",
            )
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("no API key was given; send it as 'Authorization: Bearer KEY'", None)
        caller = self._keys.caller(key.strip())
        if caller is None:
            raise _unauthorized("the API key is not known here", "invalid_api_key")
        return caller

    def _link_holder(self, scope: Scope) -> Caller | None:
        """Whoever has a link that was signed here may see its page, which the rest of the path and query name."""
        place = scope["path"].removeprefix(f"{PAGES}/")
        corpus, slash, page = place.rpartition("/")
        if place == scope["path"] or not slash:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        documents = query.get("document", [])
        # int() takes other scripts' digits; of two documents the route could show the other one.
        if len(documents) != 1 or not (page.isascii() and page.isdigit() and len(page) < 10):
            return None
        single = {name: values[0] for name, values in query.items() if len(values) == 1}
        if not self._signer.accepts(corpus, documents[0], int(page), single):
            return None
        return Caller(LINK_HOLDER, frozenset({corpus}))


def _is_signed(scope: Scope) -> bool:
    """Whether this was meant as a link that needs no key."""
    is_page = scope["path"].startswith(f"{PAGES}/") and scope["method"] in ("GET", "HEAD")
    return is_page and "signature" in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _unauthorized(message: str, code: str | None) -> HttpProblem:
    return HttpProblem(401, message, code=code, headers={"www-authenticate": "Bearer"})


def _check_allowed(caller: Caller, method: str, path: str) -> None:
    """A key for some corpora reads and asks these; what it may not see is not there for it.

    Raises:
        HttpProblem: 403 for changes and for files, which belong to all; 404 for another's store.
    """
    if caller.sees_all:
        return
    if path == _FILES or path.startswith(f"{_FILES}/"):
        raise _forbidden("files")
    if path in ("/metrics", "/openapi.json"):
        raise _forbidden(path)
    if path.rstrip("/") == _STORES and method not in ("GET", "HEAD"):
        raise _forbidden("new vector stores")
    if path.startswith(f"{_STORES}/"):
        store, _, rest = path.removeprefix(f"{_STORES}/").partition("/")
        if store and not caller.sees(store):
            raise HttpProblem(404, f"there is no vector store {store!r}", code="not_found")
        if method not in ("GET", "HEAD") and rest != "search":
            raise _forbidden("changes of vector stores")


def _forbidden(what: str) -> HttpProblem:
    message = f"this API key is for some corpora alone; {what} need a key for all of them"
    return HttpProblem(403, message, code="insufficient_permissions")

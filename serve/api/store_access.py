"""What the routes of files and vector stores share: finding what a path names, and saying why it is not there."""

# FastAPI reads annotations of what is made here; see chat_routes.
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

from ragkit.extras import require
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.guards.caller import current_caller
from ragkit.serve.stores.external_corpora import ExternalCorpora
from ragkit.serve.stores.paging import PageAsk
from ragkit.serve.stores.rows import StoreRow
from ragkit.serve.stores.server_stores import ServerStores

_FORBIDDEN = "permission_denied"


@dataclass(frozen=True)
class StoreAccess:
    """Files and vector stores as one request may see them."""

    parts: ServerParts
    external: ExternalCorpora

    @property
    def own(self) -> ServerStores:
        """Raises HttpProblem where the server has no folder for files."""
        if self.parts.stores is None:
            raise HttpProblem(
                403,
                "this server keeps no files: it was started without --store, and only its corpora can be searched",
                code="no_store",
            )
        return self.parts.stores

    def store(self, store: str) -> StoreRow:
        """A vector store, or a corpus that is shown as one. Raises HttpProblem 404."""
        if self.is_external(store):
            return self.external.store(store)
        with found("vector store", store):
            if self.parts.stores is None or not current_caller().sees(store):
                raise KeyError(store)
            return self.parts.stores.stores.get(store)

    def writable(self, store: str) -> StoreRow:
        """A vector store that can be changed.

        Raises:
            HttpProblem: 404; 403 for a corpus that the server was started with; 400 where it has expired.
        """
        if self.is_external(store):
            raise HttpProblem(
                403,
                f"{store!r} is a corpus that the server was started with, which is read-only here; change it with "
                "ragkit index on the server, or make a vector store",
                code=_FORBIDDEN,
            )
        return self.alive(store)

    def alive(self, store: str) -> StoreRow:
        """A vector store that has not expired. Raises HttpProblem 404 or 400."""
        row = self.store(store)
        if row.is_expired(time.time()):
            raise HttpProblem(400, f"the vector store {store!r} has expired", code="vector_store_expired")
        return row

    def is_external(self, store: str) -> bool:
        """Whether this is a corpus that the server was started with."""
        if self.parts.stores is not None and self.parts.stores.stores.has(store):
            return False
        return store in self.parts.library.names()

    def external_names(self) -> list[str]:
        """Corpora that the server was started with and the caller may see."""
        if self.parts.stores is None:
            return self.parts.library.names()
        # Before and after: stores are made and deleted meanwhile.
        own = set(self.parts.stores.stores.all_ids())
        names = self.parts.library.names()
        own.update(self.parts.stores.stores.all_ids())
        return [name for name in names if name not in own]


@contextmanager
def found(what: str, id_: str) -> Iterator[None]:
    """KeyErrors of the block become a 404 that names what is not there."""
    try:
        yield
    except KeyError as error:
        missing = error.args[0] if error.args and isinstance(error.args[0], str) else id_
        shown = f"{what} {id_!r:.120}" if missing == id_ else f"file {missing!r:.120}"
        raise HttpProblem(404, f"there is no {shown}", code="not_found") from error


def page_query(most: int, default: int) -> object:
    """The query parameters of a list, as a dependency that gives a `PageAsk`."""
    query = require("fastapi").Query

    def ask(
        after: str | None = None,
        before: str | None = None,
        limit: Annotated[int, query(ge=1, le=most)] = default,
        order: Literal["asc", "desc"] = "desc",
    ) -> PageAsk:
        return PageAsk(limit, order, after or None, before or None)

    return require("fastapi").Depends(ask)

"""/v1/vector_stores: stores, and searching them. The corpora of the server are shown as stores too."""

# FastAPI reads the endpoints' annotations; see chat_routes.
from typing import TYPE_CHECKING, Any

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.store_access import StoreAccess, found, page_query
from ragkit.serve.api.store_search import results, search, where_of
from ragkit.serve.api.store_shapes import Shape, deleted, page_of, vector_store
from ragkit.serve.guards.caller import current_caller
from ragkit.serve.stores.external_corpora import ExternalCorpora
from ragkit.serve.stores.file_ids import external_file_id, files_of
from ragkit.serve.stores.ids import STORE, is_id
from ragkit.serve.stores.paging import PageAsk, Paged
from ragkit.serve.stores.rows import StoreRow
from ragkit.serve.stores.rules import AttachFile, CreateStore, SearchStore, UpdateStore

if TYPE_CHECKING:
    from fastapi import FastAPI


def add_vector_store_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Make, list, look at, change, search and delete vector stores."""
    access = StoreAccess(parts, ExternalCorpora(parts.library, parts.created))
    pages: Any = page_query(100, 20)

    @app.post("/v1/vector_stores")
    def create_store(body: CreateStore) -> Shape:
        return _created(access, body)

    @app.get("/v1/vector_stores")
    def list_stores(ask: PageAsk = pages) -> Shape:
        listed = _listed(access, ask)
        return page_of(listed, _shaped(access, listed.items))

    @app.get("/v1/vector_stores/{store_id}")
    def get_store(store_id: str) -> Shape:
        return _shaped(access, [access.store(store_id)])[0]

    @app.post("/v1/vector_stores/{store_id}")
    def update_store(store_id: str, body: UpdateStore) -> Shape:
        access.writable(store_id)
        with found("vector store", store_id):
            return _shaped(access, [access.own.stores.update(store_id, body)])[0]

    @app.delete("/v1/vector_stores/{store_id}")
    def delete_store(store_id: str) -> Shape:
        if access.is_external(store_id):
            access.writable(store_id)
        with found("vector store", store_id):
            access.own.delete_store(access.store(store_id).id)
        return deleted(store_id, "vector_store.deleted")

    @app.post("/v1/vector_stores/{store_id}/search")
    def search_store(store_id: str, body: SearchStore) -> Shape:
        return _found(access, store_id, body)


def _created(access: StoreAccess, body: CreateStore) -> Shape:
    own = access.own
    with found("file", ""):
        files = own.files.get_many(body.file_ids or [])
    row = own.stores.create(body)
    wanted = [(file, AttachFile(file_id=file.id)) for file in files.values()]
    if wanted:
        with found("vector store", row.id):
            own.store_files.attach(row.id, wanted)
        own.desk.wake()
    return _shaped(access, [row])[0]


def _listed(access: StoreAccess, ask: PageAsk) -> Paged[StoreRow]:
    """Corpora of the server come first in time, by name; then its vector stores."""
    caller = current_caller()
    names = sorted(access.external_names())
    for cursor in (ask.after, ask.before):
        if cursor is not None and cursor not in names and not is_id(cursor, STORE):
            raise HttpProblem(400, f"{cursor!r:.120} is no id of a vector store", param="after")
    stores = access.parts.stores
    # As whole numbers of a list all of whose ids are at hand: there are as many as people made by hand.
    ids = [*names, *(id_ for id_ in (stores.stores.all_ids() if stores else ()) if caller.sees(id_))]
    rank = {id_: (id_ not in names, id_) for id_ in ids}
    up = sorted(ids, key=rank.__getitem__, reverse=ask.order == "desc")
    keys = [_key(id_, names) for id_ in up]
    first, last = 0, len(up)
    if ask.after is not None:
        first = sum(1 for key in keys if _is_up_to(key, _key(ask.after, names), ask.order))
    if ask.before is not None:
        last = sum(1 for key in keys if _is_before(key, _key(ask.before, names), ask.order))
    if ask.backwards:
        first = max(0, last - ask.limit)
        return Paged(_rows(access, up[first:last], names), first > 0)
    chosen = up[first:last][: ask.limit]
    return Paged(_rows(access, chosen, names), first + len(chosen) < last)


def _rows(access: StoreAccess, ids: list[str], names: list[str]) -> list[StoreRow]:
    """Without the stores that were deleted since they were listed. names: of the corpora among the ids."""
    rows = {id_: access.external.store(id_) for id_ in ids if id_ in names}
    if access.parts.stores is not None:
        rows |= access.parts.stores.stores.get_many([id_ for id_ in ids if id_ not in rows])
    return [rows[id_] for id_ in ids if id_ in rows]


def _key(id_: str, names: list[str]) -> tuple[bool, str]:
    return (id_ not in names, id_)


def _is_up_to(key: tuple[bool, str], cursor: tuple[bool, str], order: str) -> bool:
    return key <= cursor if order == "asc" else key >= cursor


def _is_before(key: tuple[bool, str], cursor: tuple[bool, str], order: str) -> bool:
    return key < cursor if order == "asc" else key > cursor


def _shaped(access: StoreAccess, rows: list[StoreRow]) -> list[Shape]:
    external = set(access.external_names())
    counts = {row.id: access.external.counts(row.id) for row in rows if row.id in external}
    own = [row.id for row in rows if row.id not in external]
    if own:
        counts |= access.own.stores.counts(own)
    return [vector_store(row, *counts[row.id]) for row in rows]


def _found(access: StoreAccess, store: str, body: SearchStore) -> Shape:
    row, where = access.alive(store), where_of(body)
    is_external = access.is_external(store)
    with found("vector store", store):
        corpus = access.parts.library.corpus(row.id)
    if not is_external and access.own.stores.counts([store])[store][0].completed == 0:
        return results(corpus, [], {}, {}, body)
    hits = search(corpus, body, where)
    documents = [hit.passage.document for hit in hits]
    if is_external:
        files = {}
        for document in dict.fromkeys(documents):
            # A document that was removed since it was found is left out.
            try:
                files[document] = access.external.file(store, external_file_id(store, document))
            except KeyError:
                continue
        return results(corpus, hits, files, {}, body)
    files = dict(files_of(access.own.state, store, documents))
    names = access.own.files.names([file.file for file in files.values()])
    return results(corpus, hits, files, names, body)

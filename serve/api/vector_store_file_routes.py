"""/v1/vector_stores/{id}/files and /file_batches: which files a store holds."""

# FastAPI reads the endpoints' annotations; see chat_routes.
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.store_access import StoreAccess, found, page_query
from ragkit.serve.api.store_shapes import Shape, deleted, file_batch, page_of, vector_store_file
from ragkit.serve.stores.external_corpora import ExternalCorpora
from ragkit.serve.stores.paging import PageAsk
from ragkit.serve.stores.rows import BatchRow, FileProgress, StoreFileRow, StoreRow
from ragkit.serve.stores.rules import AttachBatch, AttachFile, UpdateAttributes

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response

Status = Literal["in_progress", "completed", "failed", "cancelled"]
# What clients wait between two looks at a file that is worked on.
_POLL_MS = "300"


def add_vector_store_file_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Attach, list, look at, change and take out files."""
    from starlette.responses import Response

    access = StoreAccess(parts, ExternalCorpora(parts.library, parts.created))
    pages: Any = page_query(100, 20)

    @app.post("/v1/vector_stores/{store_id}/files")
    def attach_file(store_id: str, body: AttachFile) -> Shape:
        rows, _ = _attach(access, store_id, [body], batch=False)
        return _shape(access, access.store(store_id), rows[0])

    @app.get("/v1/vector_stores/{store_id}/files")
    def list_store_files(store_id: str, filter: Status | None = None, ask: PageAsk = pages) -> Shape:
        return _page(access, store_id, ask, filter)

    @app.get("/v1/vector_stores/{store_id}/files/{file_id}")
    def get_store_file(store_id: str, file_id: str, response: Response) -> Shape:
        store, row = _row(access, store_id, file_id)
        _say_when(response, row.status)
        return _shape(access, store, row)

    @app.post("/v1/vector_stores/{store_id}/files/{file_id}")
    def update_store_file(store_id: str, file_id: str, body: UpdateAttributes) -> Shape:
        store = access.writable(store_id)
        with found("file", file_id):
            row = access.own.store_files.set_attributes(store_id, file_id, body.attributes or {})
        access.own.desk.wake()
        return _shape(access, store, row)

    @app.delete("/v1/vector_stores/{store_id}/files/{file_id}")
    def detach_file(store_id: str, file_id: str) -> Shape:
        access.writable(store_id)
        with found("file", file_id):
            access.own.detach(store_id, file_id)
        return deleted(file_id, "vector_store.file.deleted")

    @app.get("/v1/vector_stores/{store_id}/files/{file_id}/content")
    def get_store_file_content(store_id: str, file_id: str) -> Shape:
        return _text(access, store_id, file_id)


def add_file_batch_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Attach many files at once, and cancel what has not begun."""
    from starlette.responses import Response

    access = StoreAccess(parts, ExternalCorpora(parts.library, parts.created))
    pages: Any = page_query(100, 20)

    @app.post("/v1/vector_stores/{store_id}/file_batches")
    def attach_batch(store_id: str, body: AttachBatch) -> Shape:
        _, batch = _attach(access, store_id, body.all_files, batch=True)
        assert batch is not None, "a batch was asked for"
        return _batch(access, store_id, batch.id)

    @app.get("/v1/vector_stores/{store_id}/file_batches/{batch_id}")
    def get_batch(store_id: str, batch_id: str, response: Response) -> Shape:
        batch = _batch(access, store_id, batch_id)
        _say_when(response, batch["status"])
        return batch

    @app.post("/v1/vector_stores/{store_id}/file_batches/{batch_id}/cancel")
    def cancel_batch(store_id: str, batch_id: str) -> Shape:
        access.writable(store_id)
        with found("batch", batch_id):
            access.own.cancel(store_id, batch_id)
        return _batch(access, store_id, batch_id)

    @app.get("/v1/vector_stores/{store_id}/file_batches/{batch_id}/files")
    def list_batch_files(
        store_id: str,
        batch_id: str,
        filter: Status | None = None,
        ask: PageAsk = pages,
    ) -> Shape:
        _batch(access, store_id, batch_id)
        return _page(access, store_id, ask, filter, batch_id)


def _attach(
    access: StoreAccess, store: str, bodies: Sequence[AttachFile], batch: bool
) -> tuple[list[StoreFileRow], BatchRow | None]:
    access.writable(store)
    own = access.own
    wanted = {body.file_id: body for body in bodies}
    with found("file", bodies[0].file_id):
        files = own.files.get_many(list(wanted))
    for body in bodies:
        _check_sizes(access, store, body)
    with found("vector store", store):
        made = own.store_files.attach(store, [(files[id_], body) for id_, body in wanted.items()], batch)
    own.desk.wake()
    return made


def _check_sizes(access: StoreAccess, store: str, body: AttachFile) -> None:
    """All files of a store are cut alike, because they are searched together."""
    sizes = None if body.chunking_strategy is None else body.chunking_strategy.static
    if sizes is not None and not access.own.stores.decide_sizes(store, sizes):
        row = access.store(store)
        has = "the server's own" if row.max_tokens is None else f"{row.max_tokens} and {row.overlap_tokens} tokens"
        raise HttpProblem(
            400,
            f"all files of a vector store are cut alike, and {store!r} has other sizes ({has}); leave "
            "chunking_strategy out, or make another vector store with it",
            param="chunking_strategy",
        )


def _row(access: StoreAccess, store: str, file: str) -> tuple[StoreRow, StoreFileRow]:
    row = access.store(store)
    with found("file", file):
        if access.is_external(store):
            return row, access.external.file(store, file)
        return row, access.own.store_files.get(store, file)


def _page(access: StoreAccess, store: str, ask: PageAsk, status: Status | None, batch: str | None = None) -> Shape:
    row = access.store(store)
    with found("file", ""):
        if access.is_external(store):
            listed = access.external.page(store, ask, status)
        else:
            listed = access.own.store_files.page(store, ask, status, batch)
    return page_of(listed, [_shape(access, row, file) for file in listed.items])


def _shape(access: StoreAccess, store: StoreRow, row: StoreFileRow) -> Shape:
    desk = access.parts.stores.desk if access.parts.stores else None
    return vector_store_file(row, store, desk.progress_of(row.store, row.file) if desk else FileProgress())


def _batch(access: StoreAccess, store: str, batch: str) -> Shape:
    row = access.store(store)
    with found("batch", batch):
        if access.is_external(store):
            raise KeyError(batch)
        return file_batch(*access.own.store_files.batch(row.id, batch))


def _text(access: StoreAccess, store: str, file: str) -> Shape:
    """What was read of a file, a part for each page."""
    row, of_file = _row(access, store, file)
    if of_file.status != "completed":
        raise HttpProblem(400, f"the file {file!r} is {of_file.status}; its text is there once it is completed")
    with found("vector store", store):
        pages = access.parts.library.corpus(row.id).store
    texts = [pages.page(of_file.document, number).text for number in range(1, of_file.pages + 1)]
    return {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": text} for text in texts],
        "has_more": False,
        "next_page": None,
    }


def _say_when(response: "Response", status: str) -> None:
    if status == "in_progress":
        response.headers["openai-poll-after-ms"] = _POLL_MS

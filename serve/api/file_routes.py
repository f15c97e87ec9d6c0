"""/v1/files: uploads, and what was uploaded."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import asyncio
import errno
import logging
import time
from typing import TYPE_CHECKING, Any

from ragkit.serve.api.connection import ClientGoneError
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.store_access import StoreAccess, found, page_query
from ragkit.serve.api.store_shapes import Shape, deleted, file_object, page_of
from ragkit.serve.stores.external_corpora import ExternalCorpora
from ragkit.serve.stores.ids import FILE, is_id
from ragkit.serve.stores.paging import PageAsk
from ragkit.serve.stores.rows import FileRow
from ragkit.serve.stores.server_stores import ServerStores
from ragkit.serve.stores.upload import Upload, UploadError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_log = logging.getLogger("ragkit.serve")
# Those of OpenAI's that its own type of a file knows.
_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data")
_FIELDS = {"purpose", "expires_after[anchor]", "expires_after[seconds]"}
_EXPIRY_S = range(3600, 2_592_001)
# A client reads why it was refused only once it has sent its body; so much more of it is read and thrown away.
_DRAIN_BYTES = 1_000_000_000
_DRAIN_S = 20.0
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(_PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "string"},
                    },
                }
            }
        },
    }
}


def add_file_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Upload, list, look at, fetch and delete files."""
    from starlette.requests import Request
    from starlette.responses import Response

    access = StoreAccess(parts, ExternalCorpora(parts.library, parts.created))
    pages: Any = page_query(10_000, 10_000)

    @app.post("/v1/files", openapi_extra=_FORM)
    async def upload_file(request: Request) -> Shape:
        row = await _upload(access.own, request)
        return file_object(row)

    @app.get("/v1/files")
    def list_files(purpose: str | None = None, ask: PageAsk = pages) -> Shape:
        for cursor in (ask.after, ask.before):
            if cursor is not None and not is_id(cursor, FILE):
                raise HttpProblem(400, f"{cursor!r:.120} is no id of a file", param="after")
        listed = access.own.files.page(ask, purpose)
        return page_of(listed, [file_object(row) for row in listed.items])

    @app.get("/v1/files/{file_id}")
    def get_file(file_id: str) -> Shape:
        return file_object(_file(access, file_id))

    @app.delete("/v1/files/{file_id}")
    def delete_file(file_id: str) -> Shape:
        with found("file", file_id):
            access.own.delete_file(file_id)
        return deleted(file_id, "file")

    @app.get("/v1/files/{file_id}/content", response_model=None)
    def get_content(file_id: str) -> Response:
        return _content(access, file_id)


def _file(access: StoreAccess, file: str) -> FileRow:
    with found("file", file):
        if access.parts.stores is not None and is_id(file, FILE):
            return access.parts.stores.files.get(file)
        for name in access.external_names():
            try:
                return access.external.file_object(name, file)
            except KeyError:
                continue
        raise KeyError(file)


def _content(access: StoreAccess, file: str) -> "Response":
    from starlette.responses import FileResponse

    own = access.own
    with found("file", file):
        row, path = own.files.get(file), own.files.path(file)
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise KeyError(file) from error
    # Never shown in the browser: it is whatever somebody uploaded.
    headers = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=row.filename,
        headers=headers,
        stat_result=status,
        content_disposition_type="attachment",
    )


async def _upload(stores: ServerStores, request: "Request") -> FileRow:
    from starlette.requests import ClientDisconnect

    declared = request.headers.get("content-length", "")
    body = request.stream()
    try:
        stores.room.check_declared(int(declared) if declared.isascii() and declared.isdigit() else None)
        with await asyncio.to_thread(stores.room.open) as room:
            content_type = request.headers.get("content-type", "")
            with Upload(stores.files.uploads, content_type, room.take) as upload:
                await upload.read(body)
                purpose, expires_after_s = _checked_fields(upload.fields)
                assert upload.path is not None, "read raises where there is no file"
                add = stores.files.add
                row = await asyncio.to_thread(add, upload.path, upload.name, purpose, expires_after_s)
                room.is_stored = True
                return row
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        _log.error("an upload does not fit on the disk: %s", error)
        await _drain(body)
        raise HttpProblem(507, "the server's disk is full", "server_error", code="disk_full") from error
    except UploadError as error:
        await _drain(body)
        raise HttpProblem(error.status, error.message, param=error.param) from error
    except ClientDisconnect as error:
        raise ClientGoneError from error


def _checked_fields(fields: dict[str, str]) -> tuple[str, int | None]:
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise UploadError(400, f"unknown field {unknown[0]!r:.60}", unknown[0][:60])
    purpose = fields.get("purpose", "")
    if purpose not in _PURPOSES:
        raise UploadError(400, f"purpose = {purpose!r:.60}; known: {', '.join(_PURPOSES)}", "purpose")
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return purpose, None
    if anchor != "created_at" or seconds is None or not (seconds.isascii() and seconds.isdigit()):
        raise UploadError(400, "expires_after needs the anchor 'created_at' and seconds", "expires_after")
    if len(seconds) > 10 or int(seconds) not in _EXPIRY_S:
        raise UploadError(
            400, f"expires_after.seconds = {seconds:.20}; from 3600 to 2592000 are allowed", "expires_after"
        )
    return purpose, int(seconds)


async def _drain(body: Any) -> None:
    from starlette.requests import ClientDisconnect

    left, end = _DRAIN_BYTES, time.monotonic() + _DRAIN_S
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for piece in body:
                left -= len(piece)
                if left < 0 or time.monotonic() > end:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        # It went, or had been read to its end.
        return

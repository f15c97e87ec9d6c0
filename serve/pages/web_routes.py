"""GET /: the web page; GET /web/{name}: its files."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.server_parts import ServerParts

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

FOLDER = Path(__file__).parents[1] / "web"
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from elsewhere, nothing inline; pictures of pages come from this server.
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _WebFile:
    content: bytes
    media_type: str
    etag: str


def add_web_routes(app: "FastAPI", parts: ServerParts) -> None:  # noqa: ARG001
    """The web page and its files, which are read once."""
    from starlette.requests import Request
    from starlette.responses import Response

    files = {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in _MEDIA_TYPES}

    @app.api_route("/", methods=["GET", "HEAD"], response_model=None, include_in_schema=False)
    async def index(request: Request) -> Response:
        return _reply(files["index.html"], request)

    @app.api_route("/web/{name}", methods=["GET", "HEAD"], response_model=None, include_in_schema=False)
    async def web_file(name: str, request: Request) -> Response:
        if name not in files:
            raise HttpProblem(404, f"there is no file {name!r:.60} here")
        return _reply(files[name], request)


def _read(path: Path) -> _WebFile:
    content = path.read_bytes()
    return _WebFile(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _reply(file: _WebFile, request: "Request") -> "Response":
    from starlette.responses import Response

    headers = {**_HEADERS, "etag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)

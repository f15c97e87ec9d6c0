"""Keeps pages of other sites from using a server without API keys through the browser of one of its readers."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.guards.problem_reply import send_problem
from ragkit.serve_config import ServeConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OTHERS = frozenset({"cross-site", "same-site"})
_OWN = frozenset({"same-origin", "none"})
_PORTS = {"http": ":80", "https": ":443"}
# By these, containers call the machine that they run on. Nobody can own a name that ends so on the internet.
_HOSTS_OF_CONTAINERS = ("host.docker.internal", "host.containers.internal")


class SiteCheckMiddleware:
    """403 for what another site's page would change or ask; 421 for a name that the server is not known by.

    The second is for pages whose own name was made to lead to this machine: a browser takes this server for theirs
    then. That takes a name, so addresses always pass.

    Args:
        any_host: whether every name passes.
    """

    def __init__(self, app: ASGIApp, settings: ServeConfig, any_host: bool) -> None:
        self._app = app
        self._any_host = any_host
        public = urlsplit(settings.public_url.lower())
        self._names = frozenset({"localhost", *_HOSTS_OF_CONTAINERS, public.hostname})
        # Browsers leave out the port that goes without saying.
        own = f"{public.scheme}://{public.netloc}".removesuffix(_PORTS.get(public.scheme, ""))
        self._origins = frozenset({*settings.cors_origins, own})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http":
                self._check(scope)
        except HttpProblem as problem:
            await send_problem(send, problem, scope)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not (self._any_host or self._is_known(host)):
            raise HttpProblem(
                421,
                f"this server has no API keys, and does not answer to the name {host!r:.100}: set [serve] "
                "public_url to the address that clients know it by, make API keys with ragkit key, or ask for its "
                "IP address",
                code="unknown_host",
            )
        if scope["method"] not in _READING and not self._is_own(headers, host):
            raise HttpProblem(
                403,
                "this server has no API keys, and takes nothing from pages of other sites: name theirs in [serve] "
                "cors_origins, or make API keys with ragkit key",
                code="other_site",
            )

    def _is_known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        except ValueError:
            return False
        return not host or name in self._names or name.endswith(".localhost") or _is_address(name)

    def _is_own(self, headers: dict[bytes, str], host: str) -> bool:
        """Whether a page of this server sent the request, one that may, or what is no browser."""
        site, origin = headers.get(b"sec-fetch-site", ""), headers.get(b"origin", "").lower()
        if site in _OWN:
            # Also where a proxy before this server asks it by another name.
            return True
        if not origin:
            return site not in _OTHERS
        return origin.partition("://")[2] == (host.lower() or None) or bool(self._origins & {"*", origin})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

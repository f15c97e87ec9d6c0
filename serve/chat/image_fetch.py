"""Images that a request names by address, fetched where the host is allowed and its address is public."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from ragkit.extras import require

if TYPE_CHECKING:
    from httpx import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_SECONDS = 10.0
_SECONDS_OF_ALL = 30.0
_MOST_BYTES = 20_000_000
_MOST_IMAGES = 16
_MOST_REDIRECTS = 3
_KINDS = ("image/png", "image/jpeg", "image/webp")
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_OK = 200
# Where NAT64 keeps addresses of IPv4.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class ImageFetchError(ValueError):
    """An image cannot be had; the message says nothing of what else the server can reach."""


@dataclass(frozen=True, slots=True)
class _Target:
    """scheme, host and port are checked; address is where the host was found, and where the request goes."""

    url: SplitResult
    host: str
    port: int
    address: str


class ImageFetcher:
    """Fetches images from some hosts.

    The host's name is resolved once, and the connection goes to the very address that was checked: a name that
    leads elsewhere a moment later leads nowhere.

    Args:
        hosts: such as "img.example.org", of the usual ports, or "img.example.org:8443".
        resolve: the addresses of a host, as the system knows them.
        is_allowed: whether an address may be connected to.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        resolve: Resolve | None = None,
        is_allowed: Callable[[str], bool] | None = None,
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._resolve = resolve or _system_addresses
        self._is_allowed = is_allowed or is_public

    async def data_uri(self, url: str) -> str:
        """The image as a data URI, whose bytes nobody has looked at yet.

        Raises:
            ImageFetchError: the host is not allowed or has no public address; the image is too large, comes too
                late, or is none; it is elsewhere by now.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._follow(url)
        except TimeoutError as error:
            raise ImageFetchError(f"the image did not come within {_SECONDS:g} s") from error

    async def _follow(self, url: str) -> str:
        first = self._host_of(_parsed(url))
        for _ in range(_MOST_REDIRECTS + 1):
            target = await self._target(url)
            if (target.host, target.port) != first:
                raise ImageFetchError("the image has moved to another host")
            found = await self._get(target)
            if found.startswith("data:"):
                return found
            url = found
        raise ImageFetchError("the image has moved too often")

    def _host_of(self, url: SplitResult) -> tuple[str, int]:
        try:
            host, port = (url.hostname or "").lower(), url.port
        except ValueError as error:
            raise ImageFetchError("the address of the image is malformed") from error
        if url.scheme not in _PORTS or url.username is not None or not host:
            raise ImageFetchError("images are fetched by http and https alone, and without a user's name")
        usual = _PORTS[url.scheme]
        named = f"{host}:{port or usual}"
        if named not in self._hosts and not (host in self._hosts and (port or usual) == usual):
            raise ImageFetchError(f"images of the host {host!r:.80} are not fetched ([serve] image_hosts)")
        return host, port or usual

    async def _target(self, url: str) -> _Target:
        parts = _parsed(url)
        host, port = self._host_of(parts)
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ImageFetchError(f"the host {host!r:.80} is not found") from error
        # One that is not public among them is no accident.
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise ImageFetchError(f"the host {host!r:.80} has no public address")
        return _Target(parts, host, port, addresses[0])

    async def _get(self, target: _Target) -> str:
        """A data URI, or where the image has moved."""
        httpx = require("httpx")
        shown = f"[{target.address}]" if ":" in target.address else target.address
        address = target.url._replace(netloc=f"{shown}:{target.port}", fragment="").geturl()
        name = target.host if target.port == _PORTS[target.url.scheme] else f"{target.host}:{target.port}"
        headers = {"host": name, "accept": ", ".join(_KINDS), "accept-encoding": "identity"}
        # trust_env: a proxy would resolve the name anew.
        client = httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False, trust_env=False)
        try:
            async with (
                client,
                client.stream("GET", address, headers=headers, extensions={"sni_hostname": target.host}) as reply,
            ):
                if reply.status_code in _REDIRECTS and "location" in reply.headers:
                    return _parsed(reply.headers["location"], target.url.geturl()).geturl()
                return await _data_uri(reply)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ImageFetchError("the image cannot be fetched") from error


def _parsed(url: str, base: str = "") -> SplitResult:
    try:
        return urlsplit(urljoin(base, url))
    except ValueError as error:
        raise ImageFetchError("the address of the image is malformed") from error


async def _data_uri(reply: Response) -> str:
    """Of a reply that is a whole image of a kind that is read, and not too large."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if reply.status_code != _OK or kind not in _KINDS:
        raise ImageFetchError(f"the host does not send a PNG, JPEG or WebP image (status {reply.status_code})")
    if reply.headers.get("content-encoding", "identity") != "identity":
        raise ImageFetchError("the host sends the image compressed once more")
    held = bytearray()
    async for piece in reply.aiter_raw():
        held += piece
        if len(held) > _MOST_BYTES:
            raise ImageFetchError(f"the image has more than {_MOST_BYTES // 1_000_000} MB")
    return f"data:{kind};base64,{base64.b64encode(held).decode('ascii')}"


class RequestImages:
    """The images of one request, each fetched once, one after the other, by the thread that reads the request."""

    def __init__(self, fetcher: ImageFetcher) -> None:
        self._fetcher = fetcher
        self._held: dict[str, str] = {}
        self._end = time.monotonic() + _SECONDS_OF_ALL

    def data_uri(self, url: str) -> str:
        """As `ImageFetcher.data_uri`. Blocks: not on an event loop."""
        if url not in self._held:
            if len(self._held) == _MOST_IMAGES or time.monotonic() > self._end:
                raise ImageFetchError(f"at most {_MOST_IMAGES} images are fetched, within {_SECONDS_OF_ALL:g} s")
            self._held[url] = asyncio.run(self._fetcher.data_uri(url))
        return self._held[url]


_current: ContextVar[RequestImages | None] = ContextVar("ragkit_request_images", default=None)


def fetched(url: str) -> str:
    """The data URI of an image that a request names by address; a URL of another kind as it is.

    Raises:
        ImageFetchError: it cannot be had, or this server fetches no images.
    """
    images = _current.get()
    if not url[:8].lower().startswith(("http://", "https://")):
        return url
    if images is None:
        raise ImageFetchError(
            f"{url[:40]!r} is no data URI, such as 'data:image/png;base64,…', and this server fetches no images: "
            "its setting [serve] image_hosts names no host"
        )
    return images.data_uri(url)


class ImageFetchMiddleware:
    """Lets the requests that pass fetch images."""

    def __init__(self, app: ASGIApp, fetcher: ImageFetcher) -> None:
        self._app = app
        self._fetcher = fetcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _current.set(RequestImages(self._fetcher))
        await self._app(scope, receive, send)


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet's, also where IPv6 carries an IPv4 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if found in _TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.is_site_local:
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


async def _system_addresses(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]

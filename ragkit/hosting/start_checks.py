"""What would keep a server from starting, found before its models are loaded."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.serve.guards.api_keys import ApiKeys
from ragkit.serve.guards.exposure import check_exposure
from ragkit.serve_config import ServeConfig


def check_settings(settings: ServeConfig, host: str, is_open_wanted: bool) -> None:
    """Raises ConfigError where API keys cannot be read, or are missing on a server that others reach."""
    check_exposure(host, settings, is_open_wanted)
    if settings.api_keys_file:
        ApiKeys(Path(settings.api_keys_file))


def hold_address(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to the port, one for each address of the host; nothing listens on them yet.

    Held while models load, so that no other program can take the port in the meantime.

    Raises:
        ConfigError: the host is none of this machine's, or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host!r} is not found: {error}") from error
    held: list[socket.socket] = []
    failures: list[OSError] = []
    for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
        try:
            held.append(_bound(family, address))
        except OSError as error:
            failures.append(error)
    codes = {failure.errno for failure in failures}
    # A machine without IPv6 may still know the name by it: that alone keeps nothing from starting.
    if held and not codes & {errno.EADDRINUSE, errno.EACCES}:
        return held
    for one in held:
        one.close()
    if errno.EADDRINUSE in codes:
        raise ConfigError(f"port {port} of {host} is in use; end what listens there, or name another --port")
    if errno.EACCES in codes:
        raise ConfigError(f"port {port} of {host} needs rights that this user does not have; name another --port")
    raise ConfigError(f"cannot listen at {host}, port {port}: {failures[0]}")


def check_certificate(certificates: Path | None, key: Path | None) -> None:
    """Raises ConfigError where the server could not answer over TLS with these files."""
    if certificates is None:
        if key is not None:
            raise ConfigError("--ssl-keyfile without --ssl-certfile: the server would answer without TLS")
        return
    asked: list[bool] = []

    def password() -> str:
        # Of an encrypted key the server itself asks for it.
        asked.append(True)
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificates, key, password)
    except OSError as error:
        if not asked:
            files = f"{certificates}" if key is None else f"{certificates} and {key}"
            raise ConfigError(
                f"{files} cannot be used for TLS ({error}); --ssl-certfile wants a certificate in PEM, and the "
                "key that fits it in the same file or in --ssl-keyfile"
            ) from error


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    """Bound as the server's event loop would bind it. Raises OSError."""
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one

"""The secret that links to pages are signed with, kept in a file so that they outlive the process."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ragkit.errors import ConfigError

_BYTES = 32
# A file that somebody else wrote may hold less than what is made here, but no less than this.
_LEAST = 16


def link_secret(file: str) -> bytes:
    """The secret of a file, which is made where it is missing; a fresh one where `file` is "".

    Processes that begin at the same time get the same one.

    Raises:
        ConfigError: the file cannot be read or made, or is too short to be a secret.
    """
    if not file:
        return secrets.token_bytes(_BYTES)
    path = Path(file)
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"serve.link_secret_file = {file!r} cannot be read or made: {error}") from error
    if len(secret) < _LEAST:
        raise ConfigError(
            f"serve.link_secret_file = {file!r} holds {len(secret)} bytes, and a secret has at least {_LEAST}; "
            "delete the file, and the server makes another"
        )
    return secret


def _make(path: Path) -> None:
    """Write a secret whole, readable by its owner alone; whoever comes second leaves what is there."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return
    finally:
        part.unlink()

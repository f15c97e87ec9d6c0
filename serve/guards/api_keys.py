"""API keys: a TOML file of their SHA-256, each with a name and the corpora it may see.

A key is 256 random bits, so that its plain SHA-256 tells nothing about it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from ragkit.errors import ConfigError
from ragkit.field_problems import explain
from ragkit.serve.guards.caller import Caller

_log = logging.getLogger("ragkit.serve")
_PREFIX = "rk-"
_Name = Annotated[StrictStr, Field(pattern=r"^[\w.@-]{1,64}$")]


class _Key(BaseModel):
    """One ``[[key]]``; corpora None: everything."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-fA-F]{64}$")]
    corpora: list[StrictStr] | None = None


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: list[_Key] = []


@dataclass(frozen=True, slots=True)
class NewKey:
    """key: shown once, to whoever will use it. entry: its lines for the file."""

    key: str
    entry: str


def make_key(name: str, corpora: Sequence[str] = ()) -> NewKey:
    """A fresh key and its entry; without corpora it may see and change everything.

    Raises:
        ConfigError: the name is empty, longer than 64 characters, or has others than letters, digits, ``_.@-``.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    lines = ["[[key]]", f"name = {_toml_string(name)}", f'sha256 = "{_digest(key)}"']
    if corpora:
        lines.append(f"corpora = [{', '.join(map(_toml_string, corpora))}]")
    entry = "\n".join(lines) + "\n"
    _parse(entry, "the new key")
    return NewKey(key, entry)


def add_key(path: Path, name: str, corpora: Sequence[str] = ()) -> NewKey:
    """As `make_key`, with the entry written behind those of the file, which only its owner may read.

    Raises:
        ConfigError: the file is malformed, cannot be written, or has a key of that name.
    """
    made = make_key(name, corpora)
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        whole = f"{before.rstrip()}\n\n{made.entry}".lstrip()
        _parse(whole, str(path))
        # Written beside it and put in its place: the server never sees half of it.
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(whole)
        os.replace(beside, path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot add a key to {path}: {error}") from error
    return made


class ApiKeys:
    """The keys of a file, which is read again when it changes: a key that is taken out is refused at once.

    Raises:
        ConfigError: the file cannot be read, is malformed, or holds no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._callers = _read(path)

    def caller(self, key: str) -> Caller | None:
        """Whose key it is; compared with every key, each in constant time."""
        self._follow()
        digest = _digest(key)
        found = None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def _follow(self) -> None:
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._callers = _read(self._path)
        except ConfigError as error:
            # Half a file, as an editor leaves it for a moment, must not lock everyone out.
            _log.error("the API keys from before stay: %s", error)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> list[tuple[str, Caller]]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file of API keys {path}; make one: {_how_to(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the API keys in {path}: {reason}") from error
    keys = _parse(text, str(path))
    if not keys:
        raise ConfigError(f"{path} holds no [[key]]; make one: {_how_to(path)}")
    return [
        (key.sha256.lower(), Caller(key.name, None if key.corpora is None else frozenset(key.corpora)))
        for key in keys
    ]


def _how_to(path: Path) -> str:
    return f"ragkit key NAME --file {shlex.quote(str(path))}"


def _parse(text: str, origin: str) -> list[_Key]:
    try:
        keys = _Keys.model_validate(tomllib.loads(text)).key
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}") from error
    except ValidationError as error:
        # Without the values: a key that was put where its hash belongs is not repeated.
        problems = "; ".join(explain(one, _Keys, "field", shows_value=False) for one in error.errors())
        raise ConfigError(f"{origin}: {problems}") from error
    names = [key.name for key in keys]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{origin}: several keys have the name {twice[0]!r}; give each its own")
    return keys


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _toml_string(text: str) -> str:
    escaped = "".join(f"\\U{ord(c):08X}" if ord(c) < 32 or ord(c) == 127 or c in '"\\' else c for c in text)
    return f'"{escaped}"'

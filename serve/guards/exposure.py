"""Who can reach the server without a key."""

from __future__ import annotations

import ipaddress

from ragkit.errors import ConfigError
from ragkit.serve_config import ServeConfig


def check_exposure(host: str, settings: ServeConfig, is_wanted: bool) -> None:
    """Refuse to answer other machines without API keys, unless that is wanted.

    Raises:
        ConfigError: the host is reached from elsewhere, and there are no keys.
    """
    if settings.api_keys_file or is_wanted or _is_this_machine(host):
        return
    raise ConfigError(
        f"host {host!r} is reached from other machines, and there are no API keys: make one with "
        "ragkit key NAME --file keys.toml and start with --keys keys.toml, or start with --no-keys"
    )


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit.hosting.start_checks import check_certificate, hold_address
from ragkit.serve.stores.state import ServerState, make_store_folder


def test_a_port_that_is_taken_and_a_host_that_is_elsewhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"^port {port} of 127.0.0.1 is in use; end what listens there, or"):
            hold_address("127.0.0.1", port)
    with pytest.raises(ConfigError, match="cannot listen at 203.0.113.7, port"):
        hold_address("203.0.113.7", port)
    with pytest.raises(ConfigError, match="--host 'a..b' is not found"):
        hold_address("a..b", port)


def test_a_port_that_is_held_is_nobody_elses_and_is_served_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (held,) = hold_address("127.0.0.1", port)
    with held:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        held.listen()
        socket.create_connection(("127.0.0.1", port)).close()
    for one in hold_address("localhost", port):
        assert one.getsockname()[1] == port
        one.close()


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    check_certificate(None, None)
    file = tmp_path / "c9.toml"
    file.write_text("[serve]\n")
    with pytest.raises(ConfigError, match=r"c9.toml cannot be used for TLS \(.*wants a certificate in PEM"):
        check_certificate(file, None)
    with pytest.raises(ConfigError, match="--ssl-keyfile without --ssl-certfile"):
        check_certificate(None, file)


def test_a_store_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.write_text("x")
    for path in (file, file / "below", Path("/proc/x")):
        with pytest.raises(ConfigError, match=f"^--store {path} cannot be used as a folder for uploads: "):
            make_store_folder(path)
        with pytest.raises(ConfigError, match="cannot be used"):
            ServerState(path)
    (tmp_path / "locked" / "server.lock").mkdir(parents=True)
    with pytest.raises(ConfigError, match="locked cannot be used as a folder for uploads: Is a directory"):
        ServerState(tmp_path / "locked")

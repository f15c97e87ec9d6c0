"""The life of a managed server, with a stand-in for vLLM; tests/vllm has the real one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkit.errors import ConfigError, EngineError, EngineUnavailableError
from ragkit.records import ChatDelta, ChatMessage, ChatRequest, Readiness
from ragkit.serve.engines.managed_engine import ManagedEngine
from ragkit.serve.engines.openai_engine import OpenAIEngine
from ragkit.serve.engines.vllm_server import Patience, VllmServer
from tests.serve.house import wait_until

FAKE = Path(__file__).with_name("fake_vllm.py")
REQUEST = ChatRequest((ChatMessage("user", "Hi"),), "Hi")
QUICK = Patience(start_s=20, quick_s=60, most_quick=3, first_pause_s=0.1, longest_s=0.2, end_s=3)

Made = tuple[VllmServer, ManagedEngine, list[str]]


def make(
    *arguments: str, patience: Patience = QUICK, **settings: Any
) -> tuple[VllmServer, ManagedEngine, list[str]]:
    log: list[str] = []
    server = VllmServer(
        settings.pop("model", "org/tiny"),
        Path(sys.executable),
        arguments,
        log=log.append,
        patience=patience,
        command=(str(FAKE),),
        **settings,
    )
    return server, ManagedEngine(server, lambda url: OpenAIEngine(url, server.name, api_key=server.key)), log


@pytest.fixture
def started() -> Iterator[Made]:
    made = make("--max-model-len", "321")
    made[0].start()
    yield made
    made[0].stop()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return int(child)


def processes(server: VllmServer) -> tuple[int, int, int]:
    """The guard, the server, the server's child."""
    assert server.pid is not None
    guard = server.pid
    return guard, child_of(guard), child_of(child_of(guard))


def test_it_is_started_with_name_address_and_key(started: Any) -> None:
    server, engine, log = started
    assert (server.state, engine.name) == ("running", "org/tiny")
    assert log[0] == "loading org/tiny with 321"
    assert asyncio.run(engine.chat(REQUEST)).text == "Hello."
    assert engine.chat_batch([REQUEST])[0].text == "Hello."
    assert (engine.context_tokens, engine.count_tokens(REQUEST.messages), engine.image_limits) == (321, 77, None)
    assert asyncio.run(engine.readiness()) == Readiness("org/tiny", True, "ready")


def test_it_ends_with_its_children_when_it_is_stopped(started: Any) -> None:
    server, engine, _ = started
    below = processes(server)
    server.stop()
    assert not any(map(is_alive, below))
    assert server.state == "ended"
    with pytest.raises(EngineUnavailableError):
        asyncio.run(engine.chat(REQUEST))
    server.stop()


def test_after_a_crash_it_is_started_again_elsewhere(started: Any) -> None:
    server, engine, log = started
    guard, pid, child = processes(server)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: server.state != "running")
    wait_until(lambda: not is_alive(child))
    wait_until(lambda: server.state == "running")
    assert server.pid != guard
    assert f"ended with status {128 + signal.SIGKILL}" in log
    assert asyncio.run(engine.chat(REQUEST)).text == "Hello."


def test_requests_fail_at_once_while_it_is_not_there() -> None:
    server, engine, _ = make(patience=Patience(start_s=20, first_pause_s=30, longest_s=30, end_s=3))
    server.start()
    try:
        os.kill(processes(server)[1], signal.SIGKILL)
        wait_until(lambda: server.state == "restarting")
        with pytest.raises(EngineUnavailableError, match="org/tiny: restarting") as caught:
            asyncio.run(engine.chat(REQUEST))
        assert caught.value.retry_after_s == 10
        assert asyncio.run(engine.readiness()) == Readiness("org/tiny", False, "restarting", 10)
    finally:
        server.stop()


def test_a_crash_that_nobody_has_noticed_yet_says_when_to_come_again(started: Made) -> None:
    server, engine, _ = started

    async def pieces() -> list[ChatDelta]:
        return [delta async for delta in engine.stream(REQUEST)]

    # Nobody listens at its address, and its state is still "running".
    server.on_start("http://127.0.0.1:1/v1")
    asks: list[Callable[[], object]] = [
        lambda: asyncio.run(engine.chat(REQUEST)),
        lambda: asyncio.run(pieces()),
        lambda: engine.chat_batch([REQUEST]),
    ]
    for ask in asks:
        with pytest.raises(EngineUnavailableError, match="cannot reach") as caught:
            ask()
        assert caught.value.retry_after_s == 10


def test_it_is_given_up_after_so_many_quick_crashes(started: Any) -> None:
    server, engine, log = started
    for _ in range(QUICK.most_quick):
        wait_until(lambda: server.state == "running")
        before = server.pid
        os.kill(processes(server)[1], signal.SIGKILL)
        wait_until(lambda before=before: server.pid != before or server.state == "given up")
    wait_until(lambda: server.state == "given up")
    assert log[-1] == "given up after 3 crashes in a row"
    assert asyncio.run(engine.readiness()) == Readiness("org/tiny", False, "given up")
    with pytest.raises(EngineUnavailableError) as caught:
        asyncio.run(engine.chat(REQUEST))
    assert caught.value.retry_after_s is None


def test_a_machine_that_cannot_start_processes_for_a_while(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, _, log = started
    real, failures = server._launch, [OSError(12, "Cannot allocate memory")]

    def launch() -> object:
        if failures:
            raise failures.pop()
        return real()

    monkeypatch.setattr(server, "_launch", launch)
    os.kill(child_of(server.pid), signal.SIGKILL)
    wait_until(lambda: "cannot be started: [Errno 12] Cannot allocate memory" in log, 20)
    wait_until(lambda: server.state == "running", 20)


def test_pauses_double() -> None:
    patience = Patience(first_pause_s=1, longest_s=30)
    assert [patience.pause_s(quick) for quick in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_one_that_cannot_start_says_why() -> None:
    server, _, _ = make("--crash")
    with pytest.raises(EngineError, match=r"(?s)for org/tiny ended with status 1; .*\nthere is no such model$"):
        server.start()


def test_one_that_is_never_well_is_ended() -> None:
    server, _, _ = make("--sick", patience=Patience(start_s=1.5, end_s=3))
    with pytest.raises(EngineError, match=r"is not well after 1\.5 s; .*\nloading org/tiny"):
        server.start()
    assert server.pid is not None
    assert not is_alive(server.pid)


def test_a_python_that_is_not_there_is_a_mistake_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no program"):
        VllmServer("m", tmp_path / "python").start()


@pytest.mark.parametrize("argument", ["--port", "--api-key=x", "--host"])
def test_what_ragkit_gives_itself_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match=f"'{argument}'; ragkit gives"):
        make(argument, "1")


@pytest.mark.parametrize(
    ("model", "arguments", "name"),
    [
        ("org/tiny", (), "org/tiny"),
        ("/models/that/are/not/here", (), "here"),
        ("org/tiny", ("--served-model-name", "mine"), "mine"),
        ("org/tiny", ("--served-model-name=mine",), "mine"),
    ],
)
def test_names_tell_no_folders(model: str, arguments: tuple[str, ...], name: str) -> None:
    assert make(*arguments, model=model)[0].name == name


def test_a_folder_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    assert make(model=f"{tmp_path}/small/")[0].name == "small"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_started_it(tmp_path: Path, ending: signal.Signals) -> None:
    script = f"""
    import sys, time
    from pathlib import Path
    from ragkit.serve.engines.vllm_server import Patience, VllmServer
    server = VllmServer("m", Path(sys.executable), command=({str(FAKE)!r},), log=lambda line: None,
                        patience=Patience(start_s=20, end_s=3))
    server.start()
    # A child that inherits every descriptor, as one that is forked does.
    import os
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    print(server.pid, flush=True)
    time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        guard = int(parent.stdout.readline())
        server = child_of(guard)
        below = (guard, server, child_of(server))
        (fork,) = set(map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())) - {
            guard
        }
        assert all(map(is_alive, below))
        parent.send_signal(ending)
        parent.wait()
        wait_until(lambda: not any(map(is_alive, below)))
        os.kill(fork, signal.SIGKILL)


def test_the_server_dies_with_a_guard_that_is_killed(started: Any) -> None:
    server, _, _ = started
    guard, pid, _ = processes(server)
    os.kill(guard, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: server.state == "running" and server.pid != guard)


def test_its_environment_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    server, _, _ = make(environment={"VLLM_CPU_KVCACHE_SPACE": "1"})
    found = server._environment()
    assert {"PYTHONPATH", "VIRTUAL_ENV"} & set(found) == set()
    assert (found["CUDA_VISIBLE_DEVICES"], found["VLLM_CPU_KVCACHE_SPACE"]) == ("1", "1")
    assert len(found["VLLM_API_KEY"]) > 20
    assert found["VLLM_API_KEY"] != make()[0].key


def test_nobody_without_the_key_is_let_in(started: Any) -> None:
    server, engine, _ = started
    url = engine._engine._url
    assert httpx.get(f"{url}/models").status_code == 401
    assert httpx.get(f"{url}/models", headers={"authorization": f"Bearer {server.key}"}).status_code == 200

"""`ragkit serve --vllm` in a process of its own, and what of vLLM runs below it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai

from ragkit.corpus import Corpus
from tests.serve.house import BRIDGE, LAKE

CONTEXT = 1024
# fp32 and eager: text can be compared.
ARGUMENTS = ("--dtype", "float32", "--enforce-eager", "--max-model-len", str(CONTEXT))
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
_LONG = "The archive of the town of Ohm keeps letters, maps and ledgers of the mill. " * 400


@dataclass(eq=False)
class Served:
    """A `ragkit serve` that was started. log: what it wrote."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    _client: openai.OpenAI | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> openai.OpenAI:
        """The same one each time; closed at the end."""
        if self._client is None:
            self._client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=120)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def wait_until_ready(self, timeout_s: float) -> None:
        wait_until(self.is_ready, timeout_s, self.explain)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.explain()
        try:
            return httpx.get(f"{self.url}/ready", timeout=15).status_code == 200
        except httpx.TransportError:
            return False

    def explain(self) -> str:
        return self.log.read_text("utf-8", "replace")[-6000:]

    def vllm(self) -> int:
        """The process of vLLM's own server."""
        found = [pid for pid in descendants(self.process.pid) if "--served-model-name" in command_of(pid)]
        servers = [pid for pid in found if "process_guard.py" not in command_of(pid)]
        assert servers, f"no vLLM below {self.process.pid}"
        return min(servers)

    def vllm_url(self) -> str:
        port = re.search(r"--port\s(\d+)", command_of(self.vllm()))
        assert port is not None
        return f"http://127.0.0.1:{port[1]}"

    def requests_in_vllm(self) -> float:
        """Running and waiting."""
        metrics = httpx.get(f"{self.vllm_url()}/metrics", timeout=15).text
        counts = re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", metrics, re.MULTILINE)
        assert counts, metrics[:500]
        return sum(map(float, counts))


@contextmanager
def serve(folder: Path, model: Path, vllm_python: Path) -> Iterator[Served]:
    """Starts it; what is left of it at the end is killed."""
    corpus = make_corpus(folder / "papers")
    arguments = ", ".join(f'"{argument}"' for argument in ARGUMENTS)
    config = folder / "ragkit.toml"
    config.write_text(f"[generation]\nmax_tokens = 64\ntimeout_s = 60\nvllm_args = [{arguments}]\n", "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ragkit", "serve", "--corpus", str(corpus), "--port", str(port)]
    command += ["--config", str(config), "--vllm", str(model), "--vllm-python", str(vllm_python)]
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | ENVIRONMENT, start_new_session=True
        )
    below: list[int] = []
    served = Served(process, port, log)
    try:
        yield served
        below = descendants(process.pid)
    finally:
        served.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        for pid in below:
            if is_alive(pid):
                wait_until(lambda pid=pid: not is_alive(pid), 30, lambda pid=pid: f"{pid} is left over")


def make_corpus(folder: Path) -> Path:
    sources = folder.with_name("documents")
    sources.mkdir()
    for name, text in {"lake": LAKE, "bridge": BRIDGE, "archive": _LONG}.items():
        (sources / f"{name}.txt").write_text(text, "utf-8")
    with Corpus.open(folder, config={"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}) as corpus:
        assert len(corpus.add(sources).added) == 3
    return folder


def descendants(pid: int) -> list[int]:
    """All processes below it that have not ended."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent_of(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def is_alive(pid: int) -> bool:
    return _parent_of(pid) is not None


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _parent_of(pid: int) -> int | None:
    """None for a process that is gone, or has ended and is not reaped."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)


def wait_until(condition: Callable[[], bool], timeout_s: float, explain: Callable[[], str]) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, explain()
        time.sleep(0.2)

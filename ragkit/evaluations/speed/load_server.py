"""A server under load, and what puts the load on it: processes of their own over a made-up corpus."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.demo import SAMPLES
from ragkit.errors import RagkitError
from ragkit.eval.speed.load_client import LoadPlan, LoadSeen
from ragkit.records import TextRecord

_WORDS_OF_A_QUESTION = 8
# Of the samples: what the made-up documents take their words from.
_TEXTS = ("documents/calibration-note.md", "questions.json")
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class LoadScale:
    """seconds: of the long run. documents, words: of the made-up corpus."""

    seconds: float = 60.0
    num_clients: int = 64
    documents: int = 1000
    words: int = 40
    seed: int = 0


def make_corpus(
    folder: Path, scale: LoadScale, tell: Callable[[str], None], config: Config | None = None
) -> tuple[str, ...]:
    """Documents of the samples' words in any order, made unless they are there; returns questions about them."""
    chance = random.Random(scale.seed)
    text = "".join((SAMPLES / name).read_text("utf-8") for name in _TEXTS)
    words = sorted(set(re.findall(r"[a-zA-Z]{3,}", text.lower())))
    documents = [_sentences(chance, words, scale.words) for _ in range(scale.documents)]
    with Corpus.open(folder, config=config) as corpus:
        if corpus.info().num_documents != scale.documents:
            tell(f"indexing {scale.documents} documents of {scale.words} words")
            corpus.add(TextRecord(f"d{i}", body) for i, body in enumerate(documents))
    return tuple(" ".join(chance.choices(words, k=_WORDS_OF_A_QUESTION)) + "?" for _ in range(500))


def _sentences(chance: random.Random, words: Sequence[str], count: int) -> str:
    chosen = chance.choices(words, k=count)
    return " ".join(" ".join(chosen[i : i + 10]).capitalize() + "." for i in range(0, count, 10))


@dataclass(frozen=True, slots=True)
class Server:
    address: str
    pid: int

    def metrics(self) -> str:
        with urlopen(f"{self.address}/metrics") as reply:
            return str(reply.read().decode())


@contextmanager
def start_server(folder: Path) -> Iterator[Server]:
    """`ragkit serve` in a process of its own, over the folder's corpus `load`, by the settings in load.toml."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ragkit", "serve", "--corpus", str(folder / "load"), "--port", str(port)]
    with (folder / "load.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen([*command, "--config", str(folder / "load.toml")], stderr=log, stdout=log)
        try:
            _wait_until_healthy(process, f"http://127.0.0.1:{port}", folder / "load.log")
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with urlopen(f"{address}/health"):
                return
        except OSError:
            time.sleep(0.2)
    raise RagkitError(f"the server did not start: {log.read_text('utf-8')[-500:]}")


def run_load(plan: LoadPlan) -> LoadSeen:
    """What a generator of load in a process of its own saw.

    Raises:
        RagkitError: it failed.
    """
    command = [sys.executable, "-m", "ragkit.eval.speed.load_client"]
    done = subprocess.run(command, input=json.dumps(asdict(plan)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RagkitError(f"the generator of load failed: {done.stderr[-500:]}")
    return LoadSeen.from_json(done.stdout)

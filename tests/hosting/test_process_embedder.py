"""Embedding in another process: the same vectors, shared, and no end of the server where that process ends."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ragkit.assemble import make_text_embedder
from ragkit.config import Config, EmbedderConfig
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, RagkitError
from ragkit.hosting.process_embedder import WORKER, EmbeddingProcesses, ProcessEmbedder
from ragkit.protocols import Tokenizer
from ragkit.records import Passage, TextRecord
from tests.processes import children, processor_s, wait_until

# A stand-in for the worker: the vector of a text is its length twice; some texts do it harm.
STAND_IN = """
import json, os, signal, struct, subprocess, sys, time
from pathlib import Path
state = Path(sys.argv[1])
settings = json.loads(sys.stdin.readline())
state.write_text(state.read_text() + settings["name"] + "\\n" if state.exists() else settings["name"] + "\\n")
if settings["name"] == "no model":
    print('{"problem": "there is no such model", "is_setting": true}', flush=True)
    sys.exit(0)
if settings["name"] == "no memory":
    os.kill(os.getpid(), signal.SIGKILL)
starts = len(state.read_text().splitlines())
fingerprint = f"f{starts}" if settings["name"] == "changing" else "f"
# As a look at a busy machine may end: otherwise each time, unless it is told.
dtype = settings["dtype"] if settings["dtype"] != "auto" else ["float32", "bfloat16"][starts % 2]
if settings["name"] == "slow again" and starts > 1:
    time.sleep(1000)
tokenizer = '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
facts = {"name": settings["name"], "dim": 2, "metric": "cosine", "fingerprint": fingerprint, "max_tokens": 7,
         "placement": ["cpu", dtype], "tokenizer": tokenizer}
print(json.dumps({"facts": facts}), flush=True)
for line in sys.stdin:
    texts = json.loads(line)["texts"]
    if "die" in texts or ("die once" in texts and starts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if "one too few" in texts:
        texts = texts[1:]
    if "have a child" in texts:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        Path(sys.argv[1] + ".child").write_text(str(child.pid))
    if "hang" in texts:
        time.sleep(1000)
    if "fail" in texts:
        print('{"problem": "RuntimeError: too long", "is_setting": false}', flush=True)
        continue
    if "babble" in texts:
        print("Segmentation fault", flush=True)
        time.sleep(1000)
    if "half a line" in texts:
        print('{"shape": [1,', end="", flush=True)
        time.sleep(1000)
    if "half" in texts:
        sys.stdout.buffer.write(b'{"shape": [1, 2]}\\n' + bytes(5))
        sys.stdout.buffer.flush()
        sys.exit(3)
    numbers = [float(len(text)) for text in texts for _ in range(2)]
    sys.stdout.buffer.write(json.dumps({"shape": [len(texts), 2]}).encode() + b"\\n")
    sys.stdout.buffer.write(struct.pack(f"{len(numbers)}f", *numbers))
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    """Of a stand-in, whose starts are noted in a file."""
    return sys.executable, "-c", STAND_IN, str(tmp_path / "starts")


@pytest.fixture
def pool(command: tuple[str, ...]) -> Iterator[EmbeddingProcesses]:
    with EmbeddingProcesses(command) as processes:
        yield processes


def named(name: str, **others: object) -> Config:
    return Config.model_validate({"embedder": {"name": name, **others}})


def pid_of(embedder: ProcessEmbedder) -> int:
    assert embedder._process is not None
    return embedder._process.pid


def started(settings: EmbedderConfig, *command: Sequence[str]) -> ProcessEmbedder:
    embedder = ProcessEmbedder(settings, *command)
    embedder.start()
    return embedder


def is_alive(process: int) -> bool:
    """Not a zombie, which nobody may have waited for."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Interrupting(io.BytesIO):
    """A channel at which whoever listens is interrupted."""

    def readline(self, size: int | None = -1) -> bytes:
        raise KeyboardInterrupt


def starts(command: Sequence[str]) -> int:
    return len(Path(command[-1]).read_text("utf-8").splitlines())


def test_it_is_the_packaged_model_as_it_is_in_this_process() -> None:
    settings = EmbedderConfig(device="cpu", dtype="float32", query_prompt="q: ")
    here = make_text_embedder(settings)
    there = started(settings)
    try:
        texts = ["a lake", "", "ein See 湖 \U0001f600", "deep " * 400]
        passages = [Passage(-1, "", 1, 0, 5, text, title="title") for text in texts]
        np.testing.assert_allclose(there.embed_queries(texts), here.embed_queries(texts), atol=1e-6)
        np.testing.assert_allclose(there.embed_passages(passages), here.embed_passages(passages), atol=1e-6)
        facts = ("name", "dim", "metric", "fingerprint", "max_tokens", "placement")
        assert [getattr(there, fact) for fact in facts] == [getattr(here, fact) for fact in facts]
        for mine, other in zip(there.token_spans(texts), here.token_spans(texts), strict=True):
            np.testing.assert_array_equal(mine, other)
        assert isinstance(there, Tokenizer)
        assert there.token_spans([]) == []
        assert there.embed_queries([]).shape == (0, 384)
    finally:
        there.close()


def test_a_corpus_uses_it_in_the_place_of_its_own(tmp_path: Path) -> None:
    config = Config.model_validate({"embedder": {"device": "cpu", "dtype": "float32"}})
    with Corpus.open(tmp_path / "c", config=config) as corpus:
        corpus.add([TextRecord("lake", "The lake is deep."), TextRecord("tax", "Steel is taxed.")])
        expected = corpus.search("water", 2)
    with (
        EmbeddingProcesses() as pool,
        Corpus.open(tmp_path / "c", config=config, make_embedder=pool.make) as corpus,
    ):
        assert isinstance(corpus.embedder, ProcessEmbedder)
        found = corpus.search("water", 2)
    assert [hit.passage.document for hit in found] == [hit.passage.document for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-4)


def test_more_texts_than_one_request_takes_come_back_in_order(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("m"))
    assert embedder is not None
    texts = ["x" * length for length in range(150)]
    np.testing.assert_array_equal(embedder.embed_queries(texts)[:, 0], np.arange(150))


def test_many_threads_share_it(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("m"))
    assert embedder is not None
    wrong: list[int] = []

    def ask(length: int) -> None:
        for _ in range(30):
            if embedder.embed_queries(["x" * length])[0, 0] != length:
                wrong.append(length)

    threads = [threading.Thread(target=ask, args=(length,)) for length in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_equal_settings_share_a_process_and_others_do_not(
    pool: EmbeddingProcesses, command: tuple[str, ...]
) -> None:
    first, same, other = pool.make(named("m")), pool.make(named("m")), pool.make(named("m", query_prompt="q"))
    assert first is same
    assert other is not first
    assert starts(command) == 2
    assert pool.make(named("none")) is None


def test_one_that_nobody_uses_any_more_ends(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("m"))
    assert isinstance(embedder, ProcessEmbedder)
    pid = pid_of(embedder)
    del embedder
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_after_a_crash_it_is_started_again_and_asked_again(
    pool: EmbeddingProcesses, command: tuple[str, ...]
) -> None:
    embedder = pool.make(named("m"))
    assert isinstance(embedder, ProcessEmbedder)
    assert embedder.embed_queries(["die once"])[0, 0] == 8
    assert starts(command) == 2
    os.kill(pid_of(embedder), signal.SIGKILL)
    assert embedder.embed_queries(["abc"])[0, 0] == 3


@pytest.mark.parametrize(("text", "how"), [("die", "SIGKILL"), ("half", "status 3"), ("babble", "SIGKILL")])
def test_texts_that_it_crashes_on_are_an_error_and_the_next_are_embedded(
    pool: EmbeddingProcesses, text: str, how: str
) -> None:
    embedder = pool.make(named("m"))
    assert embedder is not None
    with pytest.raises(RagkitError, match=rf"ended twice with the same 1 queries \({how}\)"):
        embedder.embed_queries([text])
    assert embedder.embed_queries(["abc"])[0, 0] == 3


def test_it_is_started_again_where_it_was_placed_before(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("m"))
    assert isinstance(embedder, ProcessEmbedder)
    placed = embedder.placement
    for _ in range(2):
        os.kill(pid_of(embedder), signal.SIGKILL)
        assert embedder.embed_queries(["abc"])[0, 0] == 3
        assert embedder._settings.dtype == placed.dtype


def test_a_crash_is_logged(pool: EmbeddingProcesses, caplog: pytest.LogCaptureFixture) -> None:
    embedder = pool.make(named("m"))
    assert embedder is not None
    embedder.embed_queries(["die once"])
    assert "the process that embeds by m ended (SIGKILL) and is started again" in caplog.text


def test_an_error_of_the_model_is_told_and_the_process_goes_on(
    pool: EmbeddingProcesses, command: tuple[str, ...]
) -> None:
    embedder = pool.make(named("m"))
    assert embedder is not None
    with pytest.raises(RagkitError, match="RuntimeError: too long"):
        embedder.embed_queries(["fail"])
    assert embedder.embed_queries(["abc"])[0, 0] == 3
    assert starts(command) == 1


def test_a_model_that_is_not_there_is_an_error_of_the_settings(pool: EmbeddingProcesses) -> None:
    with pytest.raises(ConfigError, match="there is no such model"):
        pool.make(named("no model"))


def test_the_real_worker_tells_of_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        started(EmbedderConfig(name=str(tmp_path / "nothing")))


def test_one_that_does_not_start_says_how_it_ended(pool: EmbeddingProcesses) -> None:
    with pytest.raises(RagkitError, match="did not start .SIGKILL."):
        pool.make(named("no memory"))


def test_another_model_under_the_same_name_is_not_taken_for_the_first(
    pool: EmbeddingProcesses, command: tuple[str, ...]
) -> None:
    embedder = pool.make(named("changing"))
    assert embedder is not None
    for _ in range(2):
        with pytest.raises(RagkitError, match="was f1 and is f2; start the server again"):
            embedder.embed_queries(["die once"])
    assert starts(command) == 2, "it is not loaded for each question"


def test_whoever_waits_when_the_server_ends_is_told(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("m"))
    assert isinstance(embedder, ProcessEmbedder)
    told: list[str] = []

    def ask() -> None:
        try:
            embedder.embed_queries(["hang"])
        except RagkitError as error:
            told.append(str(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    time.sleep(0.3)
    embedder.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert told == ["the server is ending and embeds nothing more"]
    with pytest.raises(RagkitError, match="the server is ending"):
        embedder.embed_queries(["abc"])


@pytest.mark.parametrize("texts", [["hang"], ["half a line"], ["unread " * 1000] * 16])
def test_one_that_hangs_is_ended_and_the_next_question_starts_it_again(
    texts: list[str], command: Sequence[str]
) -> None:
    with EmbeddingProcesses(command, limit_s=0.5) as pool:
        embedder = pool.make(named("m"))
        assert isinstance(embedder, ProcessEmbedder)
        hanging = pid_of(embedder)
        if len(texts) > 1:
            # More than a pipe holds.
            os.kill(hanging, signal.SIGSTOP)
        told = rf"gave no reply in 0\.5 seconds for {len(texts)} queries and was ended"
        with pytest.raises(RagkitError, match=told):
            embedder.embed_queries(texts)
        assert not is_alive(hanging)
        np.testing.assert_array_equal(embedder.embed_queries(["abc"]), [[3, 3]])
        assert starts(command) == 2


def test_one_that_hangs_as_it_is_started_again_is_ended_too(command: Sequence[str]) -> None:
    with EmbeddingProcesses(command, limit_s=0.5) as pool:
        embedder = pool.make(named("slow again"))
        assert isinstance(embedder, ProcessEmbedder)
        os.kill(pid_of(embedder), signal.SIGKILL)
        with pytest.raises(RagkitError, match=r"did not start \(no reply in 0\.5 seconds\)"):
            embedder.embed_queries(["abc"])
        assert not is_alive(pid_of(embedder))


def test_a_server_that_ends_while_one_is_started_again_leaves_none(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("slow again"))
    assert isinstance(embedder, ProcessEmbedder)
    os.kill(pid_of(embedder), signal.SIGKILL)
    told: list[str] = []

    def ask() -> None:
        with pytest.raises(RagkitError) as raised:
            embedder.embed_queries(["abc"])
        told.append(str(raised.value))

    first = pid_of(embedder)
    waiting = threading.Thread(target=ask)
    waiting.start()
    wait_until(lambda: pid_of(embedder) != first)
    embedder.close()
    waiting.join(10)
    assert told == ["the server is ending and embeds nothing more"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid_of(embedder), 0)


def test_none_is_made_for_a_server_that_has_ended(command: tuple[str, ...]) -> None:
    with EmbeddingProcesses(command) as pool:
        pass
    with pytest.raises(RagkitError, match="the server is ending"):
        pool.make(named("m"))
    assert not Path(command[-1]).exists()


def test_one_that_fails_to_start_is_tried_again(pool: EmbeddingProcesses, command: tuple[str, ...]) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError):
            pool.make(named("no model"))
    assert starts(command) == 2


def test_an_interrupted_question_does_not_leave_its_reply_to_the_next(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("m"))
    assert isinstance(embedder, ProcessEmbedder)
    process = embedder._process
    assert process is not None
    line, process._out = process._out, Interrupting()
    with pytest.raises(KeyboardInterrupt):
        embedder.embed_queries(["abcdef"])
    line.close()
    assert embedder.embed_queries(["abc"])[0, 0] == 3


def test_a_reply_of_another_shape_is_none(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("m"))
    assert embedder is not None
    with pytest.raises(RagkitError, match="ended twice"):
        embedder.embed_queries(["one too few", "abc"])


def test_what_the_process_has_started_ends_with_it(pool: EmbeddingProcesses, command: tuple[str, ...]) -> None:
    embedder = pool.make(named("m"))
    assert isinstance(embedder, ProcessEmbedder)
    assert embedder.embed_queries(["have a child"])[0, 0] > 1
    child = int(Path(command[-1] + ".child").read_text("utf-8"))
    embedder.close()
    wait_until(lambda: not is_alive(child))


@pytest.mark.parametrize("is_loading", [True, False])
def test_a_worker_ends_in_the_middle_of_its_work_when_its_owner_is_killed(is_loading: bool) -> None:
    code = f"""
from tests.hosting.test_process_embedder import EmbedderConfig, started
embedder = started(EmbedderConfig())
while {not is_loading}:
    embedder.embed_queries(["deep " * 400] * 2000)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as owner:
        wait_until(lambda: children(WORKER[-1], owner.pid))
        (worker,) = children(WORKER[-1], owner.pid)
        assert os.getpgid(worker) == worker, "Ctrl-C on a terminal would reach it"
        wait_until(lambda: processor_s(worker) > (0.3 if is_loading else 8), 60)
        if not is_loading:
            os.kill(worker, signal.SIGTERM)
            time.sleep(0.1)
            assert Path(f"/proc/{worker}").exists(), "systemd's SIGTERM is for the server"
        owner.kill()
        owner.wait()
        wait_until(lambda: not Path(f"/proc/{worker}").exists())

"""Embedding in another process: the same vectors, shared, and no end of the server where that process ends."""

from __future__ import annotations

import gc
import os
import signal
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
from ragkit.hosting.embedding_process import EmbeddingProcesses, ProcessEmbedder
from ragkit.protocols import Tokenizer
from ragkit.records import Passage, TextRecord

# A stand-in for the worker: the vector of a text is its length twice; some texts do it harm.
STAND_IN = """
import json, os, signal, struct, sys, time
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
tokenizer = '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
facts = {"name": settings["name"], "dim": 2, "metric": "cosine", "fingerprint": fingerprint, "max_tokens": 7,
         "placement": ["cpu", "float32"], "tokenizer": tokenizer}
print(json.dumps({"facts": facts}), flush=True)
for line in sys.stdin:
    texts = json.loads(line)["texts"]
    if "die" in texts or ("die once" in texts and starts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in texts:
        time.sleep(1000)
    if "fail" in texts:
        print('{"problem": "RuntimeError: too long", "is_setting": false}', flush=True)
        continue
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


def starts(command: Sequence[str]) -> int:
    return len(Path(command[-1]).read_text("utf-8").splitlines())


def test_it_is_the_packaged_model_as_it_is_in_this_process() -> None:
    settings = EmbedderConfig(device="cpu", dtype="float32", query_prompt="q: ")
    here = make_text_embedder(settings)
    there = ProcessEmbedder(settings)
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
    with Corpus.open(tmp_path / "c") as corpus:
        corpus.add([TextRecord("lake", "The lake is deep."), TextRecord("tax", "Steel is taxed.")])
        expected = corpus.search("water", 2)
    with EmbeddingProcesses() as pool, Corpus.open(tmp_path / "c", make_embedder=pool.make) as corpus:
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
    pid = embedder._process._process.pid
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
    os.kill(embedder._process._process.pid, signal.SIGKILL)
    assert embedder.embed_queries(["abc"])[0, 0] == 3


@pytest.mark.parametrize(("text", "how"), [("die", "SIGKILL"), ("half", "status 3")])
def test_texts_that_it_crashes_on_are_an_error_and_the_next_are_embedded(
    pool: EmbeddingProcesses, text: str, how: str
) -> None:
    embedder = pool.make(named("m"))
    assert embedder is not None
    with pytest.raises(RagkitError, match=rf"ended twice with the same 1 queries \({how}\)"):
        embedder.embed_queries([text])
    assert embedder.embed_queries(["abc"])[0, 0] == 3


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
        ProcessEmbedder(EmbedderConfig(name=str(tmp_path / "nothing")))


def test_one_that_does_not_start_says_how_it_ended(pool: EmbeddingProcesses) -> None:
    with pytest.raises(RagkitError, match="did not start .SIGKILL."):
        pool.make(named("no memory"))


def test_another_model_under_the_same_name_is_not_taken_for_the_first(pool: EmbeddingProcesses) -> None:
    embedder = pool.make(named("changing"))
    assert embedder is not None
    for _ in range(2):
        with pytest.raises(RagkitError, match="was f1 and is f[23]; start the server again"):
            embedder.embed_queries(["die once"])


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

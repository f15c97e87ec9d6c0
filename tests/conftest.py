"""Settings of every test: few threads, no network, nothing written outside temporary folders."""

from __future__ import annotations

import os

# Before torch, faiss or tokenizers are imported: two busy thread pools on two cores run ten times slower.
os.environ.update(
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
)

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deviations import Deviations
from tests.warm_python import WarmPython

_DEVIATIONS = pytest.StashKey[Deviations]()


# These files take longest: they go first, so that no core has nothing to do while another ends one of them.
_LONG = (
    "test_readme",
    "test_picture_kill",
    "test_index_speed",
    "test_openai_client",
    "test_killable_worker",
    "test_samples",
    "test_cli",
    "test_kill",
    "test_picture_corpus",
    "test_histories",
    "test_three_doors",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(_LONG)))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An HTTP client reads all authorities that sign certificates: nearly all of the time that making it takes."""
    import certifi

    end = "-----END CERTIFICATE-----\n"
    first, _, _ = certifi.contents().partition(end)
    file = tmp_path_factory.mktemp("authority") / "one.pem"
    file.write_text(first + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
def samples() -> Path:
    """The bundled documents."""
    return Path(__file__).parents[1] / "ragkit" / "samples" / "documents"


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Runs commands in processes of their own, without importing their libraries again for each."""
    with WarmPython() as python:
        yield python


@pytest.fixture(scope="session")
def deviations(pytestconfig: pytest.Config) -> Deviations:
    """Compares with golden numbers; the greatest deviations stand in the summary of the run."""
    return pytestconfig.stash.setdefault(_DEVIATIONS, Deviations())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(_DEVIATIONS, None)
    if found is not None and found.lines():
        terminalreporter.section("greatest deviations from golden numbers")
        for line in found.lines():
            terminalreporter.write_line(line)

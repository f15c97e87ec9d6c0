"""A real vLLM: its environment, the models it serves, `ragkit serve --vllm` as users start it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkit.serve.engines.smollm2 import convert_smollm2
from tests.serve.tiny_vlm import make_tiny_vlm
from tests.vllm.build_environment import environment_folder, is_built, python_of
from tests.vllm.served import CONTEXT, Served, serve


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    folder = environment_folder()
    if not is_built(folder):
        pytest.skip("there is no environment with vLLM; make test-vllm builds it")
    return python_of(folder)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_smollm2(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # vLLM's attention on CPUs wants heads of 32 at least.
    return make_tiny_vlm(tmp_path_factory.mktemp("tiny-vlm"), max_position_embeddings=CONTEXT, hidden_size=64)


@pytest.fixture(scope="module")
def served(vllm_python: Path, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`ragkit serve --vllm` over a corpus of a few pages."""
    with serve(tmp_path_factory.mktemp("served"), smollm2, vllm_python) as running:
        running.wait_until_ready(300)
        yield running

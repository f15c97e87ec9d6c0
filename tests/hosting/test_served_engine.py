from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ragkit.config import Config, parse_config
from ragkit.errors import ConfigError, EngineError, MissingExtraError
from ragkit.hosting.served_engine import _arguments, served_engine


def config(**generation: Any) -> Config:
    return parse_config({"generation": generation})


def test_an_engine_that_uses_the_corpus_is_left_to_it() -> None:
    with served_engine(Config()) as served:
        assert (served.engine, served.upstreams, served.config) == (None, (), Config())


def test_one_engine_for_all_corpora_and_its_server_is_asked_after() -> None:
    with served_engine(config(engine="openai", url="http://localhost:1/v1", model="m")) as served:
        assert served.engine is not None
        assert served.upstreams == (served.engine,)
    with served_engine(config(engine="echo")) as served:
        assert served.engine is not None
        assert (served.engine.name, served.engine.context_tokens, served.upstreams) == ("echo", 8192, ())


def test_batches_in_process_are_not_served() -> None:
    with (
        pytest.raises(ConfigError, match="ragkit serve --vllm MODEL"),
        served_engine(config(engine="vllm", model="m")),
    ):
        pass


def test_a_python_without_a_model_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="with --vllm MODEL alone"), served_engine(Config(), "", sys.executable):
        pass


def test_the_python_must_be_there() -> None:
    with (
        pytest.raises(ConfigError, match="'/no/python' is no program"),
        served_engine(Config(), "m", "/no/python"),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="vllm is not installed here; .* --vllm-python PATH"),
        served_engine(Config(), "m"),
    ):
        pass


def test_a_python_without_vllm_is_an_error_with_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    expected = r"(?s)for m ended with status 1; the end of its log:.*No module named"
    with pytest.raises(EngineError, match=expected), served_engine(config(vllm_python=sys.executable), "m"):
        pass
    assert "vllm | " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("generation", "arguments"),
    [
        ({}, []),
        (
            {"context_tokens": 4096, "max_images": 3},
            ["--max-model-len", "4096", "--limit-mm-per-prompt", '{"image": 3}'],
        ),
        ({"context_tokens": 4096, "vllm_args": ["--max-model-len=99"]}, ["--max-model-len=99"]),
    ],
)
def test_the_settings_become_arguments(generation: dict[str, Any], arguments: list[str]) -> None:
    assert _arguments(config(**generation).generation) == arguments


@pytest.mark.parametrize("tokens", [1, 255, -5])
def test_a_context_is_asked_for_or_large_enough(tokens: int) -> None:
    assert Config().generation.context_tokens == 0
    assert config(context_tokens=256).generation.context_tokens == 256
    with pytest.raises(ConfigError, match="at least 256 tokens; 0 asks the server"):
        config(context_tokens=tokens)


def test_vllm_in_process_says_how_to_come_by_it(tmp_path: Path) -> None:
    from ragkit.assemble import make_engine

    with pytest.raises(MissingExtraError, match="install ragkit into vLLM's own environment"):
        make_engine(config(engine="vllm", model=str(tmp_path)), None)
    with pytest.raises(ConfigError, match=r"needs generation\.model"):
        make_engine(config(engine="vllm"), None)

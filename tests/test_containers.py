"""Dockerfile and compose.yaml are not built here; what they say of ragkit must exist."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from ragkit.cli import app
from ragkit.config import parse_config

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def instruction(name: str) -> str:
    (found,) = re.findall(rf"^{name} (.*?[^\\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return str(found)


def check_command(words: list[str]) -> None:
    """Raises where the command line takes no such words."""
    command = typer.main.get_command(app)
    context = command.make_context("ragkit", list(words), resilient_parsing=True)
    name, found, rest = command.resolve_command(context, list(words))  # type: ignore[attr-defined]
    assert name == words[0]
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("words", [json.loads(instruction("CMD")), COMPOSE["services"]["ragkit"]["command"]])
def test_commands_are_those_of_the_command_line(words: list[str]) -> None:
    assert words[0] == "serve"
    check_command(words)
    with pytest.raises(AssertionError):
        check_command([*words, "--no-such-flag"])


def test_the_image_runs_ragkit_as_nobody_special() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["python", "-m", "ragkit"]
    assert instruction("USER") == "ragkit"
    assert DOCKERFILE.index("\nUSER ragkit") < DOCKERFILE.index("\nENTRYPOINT")
    assert "/health" in instruction("HEALTHCHECK")


def test_the_images_extras_exist() -> None:
    (extras,) = re.findall(r"/src\[([\w,-]+)\]", DOCKERFILE)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(known)


def test_the_configuration_finds_vllm_beside_it() -> None:
    ragkit, vllm = (COMPOSE["services"][name] for name in ("ragkit", "vllm"))
    settings = parse_config(tomllib.loads(COMPOSE["configs"]["ragkit"]["content"])).generation
    assert (settings.engine, settings.url) == ("openai", "http://vllm:8000/v1")
    assert settings.model == vllm["command"][vllm["command"].index("--served-model-name") + 1]
    assert ragkit["environment"][settings.api_key_env] == vllm["environment"]["VLLM_API_KEY"]
    assert ragkit["depends_on"]["vllm"]["condition"] == "service_healthy"
    # The model is not for everybody who reaches the machine.
    assert "ports" not in vllm


def test_named_volumes_are_declared() -> None:
    mounts = [mount.split(":")[0] for service in COMPOSE["services"].values() for mount in service["volumes"]]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])

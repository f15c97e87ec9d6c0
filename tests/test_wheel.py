"""What a user installs: wheel and source archive hold the five folders as one package, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("indexers", "retrievers", "serve", "eval")


@dataclass(frozen=True)
class Built:
    """A copy of the tree, and the names in the archives that were built from it."""

    tree: Path
    wheel: Path
    wheel_names: frozenset[str]
    sdist_names: frozenset[str] = frozenset()


def copy_tree(folder: Path) -> Path:
    """The checkout without its caches, links as links: builds leave their output in the copy."""
    files = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md")
    for name in (*files, "Makefile", "constraints.txt"):
        if (ROOT / name).exists():
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder)
    for name in ("ragkit", *PARTS, "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(tree: Path, *targets: str) -> Built:
    run(
        "-m",
        "build",
        "--no-isolation",
        "--skip-dependency-check",
        *targets,
        "--outdir",
        tree / "dist",
        cwd=tree,
    )
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        wheel_names = frozenset(archive.namelist())
    sdist_names: frozenset[str] = frozenset()
    for path in (tree / "dist").glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            sdist_names = frozenset(
                member.name.partition("/")[2] for member in archive.getmembers() if not member.isdir()
            )
    return Built(tree, wheel, wheel_names, sdist_names)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Source archive, and the wheel made from it, as `python -m build` does."""
    return build(copy_tree(tmp_path_factory.mktemp("checkout") / "ragkit"))


def files_below(folder: Path) -> list[str]:
    """Relative paths, links not followed."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    ]


def expected_in_wheel(tree: Path) -> set[str]:
    """Every file of the five folders where its import name says, less how the samples are made and eval/peers."""
    below = [name for name in files_below(tree / "ragkit") if name.partition("/")[0] not in PARTS]
    names = {
        f"ragkit/{name}"
        for name in below
        if not name.startswith("samples/sources/") and not (name.startswith("samples/") and name.endswith(".py"))
    }
    names |= {f"ragkit/{part}/{name}" for part in PARTS for name in files_below(tree / part)}
    return {name for name in names if not name.startswith("ragkit/eval/peers/")}


def test_the_wheel_holds_every_file_of_the_five_folders_and_no_other(built: Built) -> None:
    content = {name for name in built.wheel_names if ".dist-info/" not in name}
    assert content == expected_in_wheel(built.tree)


def test_the_wheel_holds_samples_and_configurations(built: Built) -> None:
    assert built.wheel_names >= {
        "ragkit/py.typed",
        "ragkit/samples/questions.json",
        "ragkit/samples/documents/annual-report-2025.pdf",
        "ragkit/samples/documents/loan-form-0417.png",
    }
    configurations = {
        f"ragkit/eval/configs/{path.name}" for path in (built.tree / "eval" / "configs").glob("*.toml")
    }
    assert built.wheel_names >= configurations


def test_the_wheel_has_one_top_level_package(built: Built) -> None:
    tops = {name.partition("/")[0] for name in built.wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ragkit"}
    (licence,) = (name for name in built.wheel_names if name.endswith("/licenses/LICENSE"))
    with zipfile.ZipFile(built.wheel) as archive:
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_source_archive_holds_each_source_once_and_no_test(built: Built) -> None:
    sources = {f"{part}/{name}" for part in PARTS for name in files_below(built.tree / part)}
    assert built.sdist_names >= {"pyproject.toml", "LICENSE", "README.md", "MANIFEST.in", *sources}
    assert built.sdist_names >= {
        f"ragkit/samples/{name}" for name in files_below(built.tree / "ragkit" / "samples")
    }
    assert not [name for name in built.sdist_names if name.startswith(tuple(f"ragkit/{part}/" for part in PARTS))]
    assert not [name for name in built.sdist_names if name.startswith("tests") or "golden" in name]


def test_the_installed_wheel_is_imported_from_anywhere(built: Built, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "eval.py").write_text("raise RuntimeError('the wrong eval')")
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run(*pip, "--target", target, built.wheel, cwd=elsewhere)
    code = """
import ragkit, ragkit.indexers, ragkit.eval, ragkit.serve, ragkit.retrievers
for package in (ragkit, ragkit.indexers, ragkit.eval, ragkit.serve, ragkit.retrievers):
    print(package.__file__)
"""
    places = [Path(line) for line in run("-c", code, cwd=elsewhere, PYTHONPATH=str(target)).splitlines()]
    expected = [target / "ragkit" / "__init__.py"]
    expected += [target / "ragkit" / part / "__init__.py" for part in ("indexers", "eval", "serve", "retrievers")]
    assert places == expected


def test_a_tree_without_links_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "unzipped")
    for part in PARTS:
        (tree / "ragkit" / part).unlink(missing_ok=True)
    assert build(tree, "--wheel").wheel_names == built.wheel_names

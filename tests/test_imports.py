"""The guards of docs/architecture.md: the folder map, who may import whom, what an import costs."""

from __future__ import annotations

import ast
import graphlib
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from ragkit.extras import EXTRA_OF

ROOT = Path(__file__).parents[1]
PARTS = ("indexers", "retrievers", "serve", "eval")
# Scripts that run in environments of their own, with the libraries that ragkit is compared with; no package.
SCRIPTS = ROOT / "eval" / "peers"
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
GROUND_FLOOR = {
    f"ragkit.{name}"
    for name in (
        "attributes",
        "errors",
        "filter_json",
        "filter_text",
        "filters",
        "records",
        "protocols",
        "extras",
        "config",
        "feedback_config",
        "serve_config",
        "field_problems",
        "files",
        "devices",
        "pictures",
        "sentences",
        "stop_words",
        "without_video",
    )
}
# Import names of the dependencies that every installation has.
CORE_LIBRARIES = {
    *("numpy", "pydantic", "typer", "click", "rich", "pypdfium2", "PIL", "bm25s", "Stemmer", "inscriptis"),
    "ragkit",
}
MAX_IMPORT_S = 0.3
MAX_P90_LINES = 30


@dataclass(frozen=True)
class Imported:
    """A name that a module imports. eager: when the module itself is imported."""

    name: str
    line: int
    eager: bool


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def python_files(folder: Path) -> list[Path]:
    """Below the folder, without following its links."""
    return [
        Path(top, name)
        for top, _, names in os.walk(folder, followlinks=False)
        for name in sorted(names)
        if name.endswith(".py")
    ]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "ragkit" else ("ragkit", *parts))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def modules() -> dict[str, Module]:
    """By name. Not when pytest collects, which every process of a run does: parsing them takes seconds."""
    return {
        (name := module_name(path)): Module(name, path, parse(path))
        for folder in ("ragkit", *PARTS)
        for path in python_files(ROOT / folder)
        if SCRIPTS not in path.parents
    }


def library() -> dict[str, Module]:
    return {name: module for name, module in modules().items() if not name.startswith("ragkit.samples.")}


def statements(node: ast.AST, eager: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Every import statement below the node, and whether it runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, eager
            continue
        in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        yield from statements(child, eager and not in_function and not for_types)


def imports(module: Module) -> list[Imported]:
    """Absolute names; `from a import b` is a.b where that is a module of ours."""
    found = []
    for statement, eager in statements(module.tree):
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        else:
            assert isinstance(statement, ast.ImportFrom)
            ancestors = module.package.split(".")
            ancestors = ancestors[: len(ancestors) - statement.level + 1] if statement.level else []
            base = ".".join([*ancestors, *([statement.module] if statement.module else [])])
            below = [f"{base}.{alias.name}" for alias in statement.names]
            names = [name if name in modules() else base for name in below]
        found += [Imported(name, statement.lineno, eager) for name in names]
    return found


@cache
def all_imports() -> dict[str, list[Imported]]:
    """By importer."""
    return {name: imports(module) for name, module in modules().items()}


def may_import(importer: str, imported: str) -> bool:
    """The table of docs/architecture.md; both are modules of ours."""
    folder = ".".join(importer.split(".")[:2])
    if importer.startswith("ragkit.samples."):
        return imported.startswith("ragkit.samples.")
    if imported.startswith("ragkit.samples."):
        return False
    if importer in GROUND_FLOOR:
        return imported in GROUND_FLOOR
    if folder.removeprefix("ragkit.") not in PARTS:
        return True
    allowed = {folder}
    if importer.startswith("ragkit.retrievers.training"):
        allowed.add("ragkit.indexers")
    return imported in GROUND_FLOOR or ".".join(imported.split(".")[:2]) in allowed


def test_the_table_of_who_may_import_whom() -> None:
    assert may_import("ragkit.records", "ragkit.errors")
    assert not may_import("ragkit.records", "ragkit.corpus")
    assert not may_import("ragkit.records", "ragkit.indexers.store")
    assert may_import("ragkit.serve.generate", "ragkit.serve.prompting.prompts")
    assert may_import("ragkit.serve.generate", "ragkit.protocols")
    assert not may_import("ragkit.serve.generate", "ragkit.retrievers.dense")
    assert not may_import("ragkit.serve.generate", "ragkit")
    assert may_import("ragkit.retrievers.training.train_encoder", "ragkit.indexers.split")
    assert not may_import("ragkit.retrievers.dense", "ragkit.indexers.split")
    assert may_import("ragkit.assemble", "ragkit.retrievers.dense")


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
import numpy as np, faiss.contrib
if TYPE_CHECKING:
    from PIL.Image import Image
class C:
    from . import files
    def f(self):
        from ragkit import errors
        import torch
"""
    module = Module("ragkit.indexers.x", ROOT / "indexers" / "x.py", ast.parse(source))
    found = [(item.name, item.eager) for item in imports(module)][2:]
    assert found == [
        ("numpy", True),
        ("faiss.contrib", True),
        ("PIL.Image", False),
        ("ragkit.indexers", True),
        ("ragkit.errors", False),
        ("torch", False),
    ]


def test_packages_are_the_folders_with_an_init_file() -> None:
    folders = {
        name: module.path.parent.relative_to(ROOT).as_posix()
        for name, module in modules().items()
        if module.path.name == "__init__.py"
    }
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders)
    assert SETUPTOOLS["package-dir"].items() <= folders.items()
    assert set(SETUPTOOLS["package-dir"]) >= {"ragkit", *(f"ragkit.{part}" for part in PARTS)}


@pytest.mark.parametrize("part", PARTS)
def test_links_lead_to_the_folders_beside_ragkit(part: str) -> None:
    link = ROOT / "ragkit" / part
    if link.is_symlink():
        assert os.readlink(link) == f"../{part}"
    elif link.exists():
        # Git writes links as small text files where the file system has none.
        assert link.is_file()
        assert link.read_text("utf-8").strip() == f"../{part}"


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a git checkout")
def test_git_holds_the_links_as_links() -> None:
    paths = [f"ragkit/{part}" for part in PARTS]
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--stage", *paths],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert [line.split()[0] for line in listing.splitlines()] == ["120000"] * len(PARTS)


def test_imports_point_one_way() -> None:
    wrong = [
        f"{modules()[importer].path}:{item.line}: {importer} imports {item.name}"
        for importer, items in all_imports().items()
        for item in items
        if item.name.split(".")[0] == "ragkit" and not may_import(importer, item.name)
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {
        name: {item.name for item in items if item.eager and item.name in modules() and item.name != name}
        for name, items in all_imports().items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_optional_libraries_are_imported_where_they_are_needed() -> None:
    wrong = [
        f"{module.path}:{item.line}: {item.name}"
        for name, module in library().items()
        for item in all_imports()[name]
        if item.eager and item.name.split(".")[0] not in CORE_LIBRARIES | sys.stdlib_module_names
    ]
    assert not wrong, "imported at module level:\n" + "\n".join(wrong)


def test_the_ground_floor_stands_on_little() -> None:
    items = [item for name in GROUND_FLOOR for item in all_imports().get(name, ())]
    libraries = {item.name.split(".")[0] for item in items if item.eager}
    assert libraries - sys.stdlib_module_names <= {"numpy", "pydantic", "ragkit"}


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    names = {name.rpartition(".")[2] for name in modules()} - {"__main__"}
    assert not names & sys.stdlib_module_names


def test_the_folders_are_never_imported_by_their_bare_names() -> None:
    # Parsing all tests takes seconds: those that say it in words are few.
    names = "|".join(PARTS)
    said = re.compile(rf"^\s*(from\s+({names})\b|import\s+([\w., ]+,\s*)?({names})\b)", re.MULTILINE)
    tests = [path for path in python_files(ROOT / "tests") if said.search(path.read_text("utf-8"))]
    everywhere = [*modules().values(), *(Module("", path, parse(path)) for path in tests)]
    wrong = [
        f"{module.path}:{item.line}: {item.name}"
        for module in everywhere
        for item in imports(module)
        if item.name.split(".")[0] in PARTS
    ]
    assert not wrong, "write ragkit.indexers and so on:\n" + "\n".join(wrong)


def test_no_import_error_is_swallowed() -> None:
    wrong = [
        f"{module.path}:{node.lineno}"
        for module in modules().values()
        for node in ast.walk(module.tree)
        if swallows(node)
    ]
    assert not wrong, "\n".join(wrong)


def swallows(node: ast.AST) -> bool:
    """`except ImportError: pass`, wider catches that do nothing, and contextlib.suppress of the same."""
    too_wide = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    if isinstance(node, ast.ExceptHandler):
        does_nothing = all(isinstance(line, ast.Pass) or is_ellipsis(line) for line in node.body)
        caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else too_wide
        return does_nothing and bool(caught & too_wide)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        return bool({ast.unparse(argument) for argument in node.args} & too_wide)
    return False


def is_ellipsis(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and line.value.value is ...


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("try: x\nexcept ImportError: pass", True),
        ("try: x\nexcept (OSError, ModuleNotFoundError): ...", True),
        ("try: x\nexcept: pass", True),
        ("with contextlib.suppress(ImportError): x", True),
        ("try: x\nexcept FileNotFoundError: pass", False),
        ("try: x\nexcept ImportError as error: raise E from error", False),
    ],
)
def test_swallows(source: str, expected: bool) -> None:
    assert any(swallows(node) for node in ast.walk(ast.parse(source))) is expected


def test_import_ragkit_is_quick_and_loads_no_extra() -> None:
    heavy = sorted({*EXTRA_OF, "scipy", "pandas", "sklearn", "onnxruntime", "matplotlib", "starlette"})
    code = f"""
import sys, time
start = time.perf_counter()
import ragkit
print(time.perf_counter() - start, *[name for name in {heavy!r} if name in sys.modules])
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert runs[0][1:] == []
    assert min(float(run[0]) for run in runs) < MAX_IMPORT_S


def test_nine_functions_in_ten_are_short() -> None:
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for module in library().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    )
    p90 = lengths[math.ceil(0.9 * len(lengths)) - 1]
    print(f"{len(lengths)} functions, 90th percentile {p90} lines, longest {lengths[-1]}")  # noqa: T201
    assert p90 <= MAX_P90_LINES

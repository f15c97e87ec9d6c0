"""The same work with ragkit and with its peers, each step in a process of its own; README.md beside it."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.eval.peers.conditions import Conditions, conditions_of, differences, headline
from ragkit.eval.peers.measure import NUM_ADDED, NUM_PARTS, STEPS, TOOLS, K
from ragkit.eval.peers.ratios import is_refusal, markdown
from ragkit.eval.speed.clustered_vectors import clustered_queries, clustered_records, clustered_vectors
from ragkit.records import FloatArray, KeyArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NUM_QUERIES = 1000
_QUERY_BLOCK = 100
# Where one of these has failed a step need not be tried.
NEEDS: dict[str, tuple[str, ...]] = dict.fromkeys(("search", "search_part", "add", "delete"), ("build",))
NEEDS |= {"check_added": ("add",), "check_deleted": ("delete",), "search_changed": ("add", "delete")}
# A tool's result: {"conditions": what it was measured with, "facts": its figures and errors}. By size, by tool.
Results = dict[str, dict[str, dict[str, Any]]]
THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"),
    *("TOKIO_WORKER_THREADS", "LANCE_CPU_THREADS"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """seconds: of the searches of a step. timeout_s: of a step. threads: 0 for all cores."""

    seconds: float
    timeout_s: float
    memory_gb: float
    threads: int


def main() -> None:
    given = arguments()
    work: Path = given.work
    work.mkdir(parents=True, exist_ok=True)
    limits = Limits(given.seconds, given.timeout, given.memory_gb, given.threads)
    tools = [tool for tool in TOOLS if not given.tools or tool in given.tools]
    pythons = {tool: python_of(tool, work) for tool in tools}
    sizes = [int(size) for size in given.sizes.split(",")]
    kept = work / "results.json"
    told = {**asdict(limits), "threads": limits.threads or "all"}
    conditions = {tool: conditions_of(python, told) for tool, python in pythons.items()}
    results: Results = {}
    if given.resume and kept.exists():
        results = json.loads(kept.read_text("utf-8"))
        refusal = why_not_resumed(results, sizes, conditions)
        if refusal:
            sys.exit(f"{kept}: {refusal}; measure as then, leave out --resume, or name another folder by --work")
    for size in sizes:
        data = make_data(work / "data" / str(size), size)
        of_size = results.setdefault(str(size), {})
        for tool in tools:
            if tool not in of_size:
                facts = measure(tool, pythons[tool], data, work / "store", limits)
                of_size[tool] = {"conditions": conditions[tool], "facts": facts}
                kept.write_text(json.dumps(results, indent=1), "utf-8")
    text = report(results, sizes, conditions)
    sys.stdout.write(text)
    if given.out is not None:
        given.out.write_text(text, "utf-8")


def why_not_resumed(results: Results, sizes: Sequence[int], conditions: Mapping[str, Conditions]) -> str:
    """Which kept result that the table would have was measured with something else; "" where none was."""
    for size in sizes:
        for tool, now in conditions.items():
            kept = results.get(str(size), {}).get(tool)
            # As it would be read back.
            found = kept and differences(kept.get("conditions", {}), json.loads(json.dumps(now)))
            if found:
                return f"{tool} at {size:,} was measured with {'; '.join(found)}"
    return ""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000", help="documents, with commas between")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, help="only these")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "peers", help="environments, data, stores")
    parser.add_argument("--out", type=Path, help="write the table here too, as Markdown")
    parser.add_argument(
        "--resume", action="store_true", help="keep what an earlier run in the folder has measured"
    )
    parser.add_argument("--threads", type=int, default=0, help="cores that each tool may use; 0: all")
    parser.add_argument("--seconds", type=float, default=120, help="for 1,000 searches; after it fewer are made")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for a step")
    parser.add_argument("--memory-gb", type=float, default=0, help="a step may take so much; 0: three quarters")
    return parser.parse_args()


def python_of(tool: str, work: Path) -> Path | str:
    """The interpreter of the tool's environment, which is made where its pins have changed.

    Returns what went wrong, as text, where it cannot be made.
    """
    if tool.startswith("ragkit"):
        return Path(sys.executable)
    name = "haystack-faiss" if tool == "Haystack FAISS" else ""
    pins = HERE / f"requirements{'-' * bool(name)}{name}.txt"
    folder = work / f"env{'-' * bool(name)}{name}"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text("utf-8") != pins.read_text("utf-8"):
        say(f"making {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", folder],
            [*pip, "--constraint", ROOT / "constraints.txt", "--requirement", pins],
        ):
            done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
            if done.returncode:
                return f"{folder}: {last_line(done.stderr)}"
        shutil.copy(pins, stamp)
    return python


def make_data(folder: Path, size: int) -> Path:
    """Vectors, texts, queries and their true neighbours; what is added later stands last."""
    if (folder / "nearest_changed.npy").exists():
        return folder
    say(f"making {size:,} vectors")
    folder.mkdir(parents=True, exist_ok=True)
    vectors, queries = clustered_vectors(size + NUM_ADDED), clustered_queries(NUM_QUERIES, size)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", queries)
    texts = [record.text for record in clustered_records(0, size + NUM_ADDED)]
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts), "utf-8")
    np.save(folder / "nearest.npy", nearest(queries, vectors[:size]))
    of_part = np.full((NUM_QUERIES, K), -1, np.int64)
    for part in range(NUM_PARTS):
        asked, rows = np.arange(part, NUM_QUERIES, NUM_PARTS), np.arange(part, size, NUM_PARTS)
        found = rows[nearest(queries[asked], vectors[rows])]
        of_part[asked, : found.shape[1]] = found
    np.save(folder / "nearest_of_part.npy", of_part)
    # All are added, and the first is deleted.
    np.save(folder / "nearest_changed.npy", nearest(queries, vectors[1:]) + 1)
    return folder


def nearest(queries: FloatArray, vectors: FloatArray) -> KeyArray:
    """int64 (q, at most 10): row numbers of the greatest inner products, best first."""
    k = min(K, len(vectors))
    blocks = []
    for start in range(0, len(queries), _QUERY_BLOCK):
        scores = queries[start : start + _QUERY_BLOCK] @ vectors.T
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        blocks.append(np.take_along_axis(best, order, axis=1).astype(np.int64))
    return np.concatenate(blocks)


def measure(tool: str, python: Path | str, data: Path, store: Path, limits: Limits) -> dict[str, Any]:
    """Every step's figures; a step that fails leaves its error under "<step>_error"."""
    if isinstance(python, str):
        return {"build_error": python}
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    facts: dict[str, Any] = {}
    for step in STEPS:
        failed = next((need for need in NEEDS.get(step, ()) if f"{need}_error" in facts), None)
        if failed is not None:
            before = facts[f"{failed}_error"]
            facts[f"{step}_error"] = before if is_refusal(before) else f"not tried, as {failed} failed"
            continue
        start = time.monotonic()
        facts |= run_step(tool, step, python, data, store, limits)
        say(f"{data.name} {tool}, {step}: {time.monotonic() - start:.1f} s {facts.get(f'{step}_error', '')}")
    shutil.rmtree(store)
    return facts


def run_step(tool: str, step: str, python: Path, data: Path, store: Path, limits: Limits) -> dict[str, Any]:
    result = store.with_name("result.json")
    result.unlink(missing_ok=True)
    command = [python, HERE / "measure.py", tool, step, "--data", data, "--store", store, "--result", result]
    command += ["--seconds", str(limits.seconds)]
    try:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            capture_output=True,
            text=True,
            timeout=limits.timeout_s,
            env=environment(limits.threads),
            preexec_fn=lambda: confine(limits),
        )
    except subprocess.TimeoutExpired:
        return {f"{step}_error": f"not done after {limits.timeout_s:.0f} s"}
    if done.returncode:
        return {f"{step}_error": last_line(done.stderr) or f"ended with status {done.returncode}"}
    facts: dict[str, Any] = json.loads(result.read_text("utf-8"))
    # Importing is shown once, as it is before searching.
    return facts if step == "search" else {key: value for key, value in facts.items() if key != "import_s"}


def environment(threads: int) -> dict[str, str]:
    """No model hub, no usage statistics; as many threads as are asked for."""
    settings = {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False", "DO_NOT_TRACK": "1"}
    inherited = {name: value for name, value in os.environ.items() if name not in THREADS}
    return inherited | settings | {name: str(threads) for name in THREADS if threads}


def confine(limits: Limits) -> None:
    """In the new process: to so many cores, and to memory that the machine has."""
    if limits.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: limits.threads])
    size = int(limits.memory_gb * 1e9) or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def report(results: Results, sizes: Sequence[int], conditions: Mapping[str, Conditions]) -> str:
    """The tables of these tools, below what they were measured with."""
    tables = [markdown(size, {tool: results[str(size)][tool]["facts"] for tool in conditions}) for size in sizes]
    return f"{headline(conditions)}\n(×n): peer/ragkit.\n\n" + "\n".join(tables)


def last_line(text: str) -> str:
    """The error itself, where text is a traceback."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()

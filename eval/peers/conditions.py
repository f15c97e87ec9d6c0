"""What a result was measured with; results stand in one table only where that is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragkit import __version__
from ragkit.eval.speed.timing import machine_facts

# Prints name and version of all that is installed.
_LIST = """
import json
from importlib.metadata import distributions
print(json.dumps([(one.metadata["Name"], one.version) for one in distributions()]))
"""
_NAMES = {
    *("txtai", "llama-index-core", "llama-index-vector-stores-faiss", "haystack-ai", "faiss-haystack"),
    *("lancedb", "numpy"),
}

Conditions = Mapping[str, Any]


def conditions_of(python: Path | str, limits: Mapping[str, object]) -> Conditions:
    """Machine, limits, and the versions in the environment of an interpreter; as text: it could not be made."""
    return {"machine": machine_facts(), **limits, "versions": versions_of(python)}


def versions_of(python: Path | str) -> list[str]:
    """Such as "txtai 9.14.0"; of this interpreter ragkit's too."""
    if isinstance(python, str):
        return []
    listing = subprocess.run([str(python), "-c", _LIST], check=True, capture_output=True, text=True).stdout
    pairs = [(name.lower().replace("_", "-"), version) for name, version in json.loads(listing)]
    found = {f"{name} {version}" for name, version in pairs if name in _NAMES or name.startswith("faiss-")}
    return [f"ragkit {__version__}"] * (str(python) == sys.executable) + sorted(found)


def differences(kept: Conditions, now: Conditions) -> list[str]:
    """Such as "threads: 1, now 2"."""
    names = dict.fromkeys([*now, *kept])
    return [f"{name}: {kept.get(name)}, now {now.get(name)}" for name in names if kept.get(name) != now.get(name)]


def headline(conditions: Mapping[str, Conditions]) -> str:
    """Of each column, where all but the versions is the same; columns of one environment stand together."""
    first = next(iter(conditions.values()))
    said = [
        *first["machine"].items(),
        *((name, first[name]) for name in first if name not in ("machine", "versions")),
    ]
    columns: dict[str, list[str]] = {}
    for tool, one in conditions.items():
        columns.setdefault(", ".join(one["versions"]) or "could not be installed", []).append(tool)
    lines = [f"- {', '.join(tools)}: {versions}" for versions, tools in columns.items()]
    return "\n".join([f"Measured with {'; '.join(f'{name}: {value}' for name, value in said)}.", "", *lines, ""])

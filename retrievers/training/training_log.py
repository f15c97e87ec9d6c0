"""What a training run said while it ran: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ragkit.files import atomic_write

FILE = "log.jsonl"


class TrainingLog:
    """Lines of a run, each with its `step`. A run that goes on from a checkpoint forgets what came after it."""

    def __init__(self, path: Path, from_step: int | None) -> None:
        """from_step: of the checkpoint; None: the run begins."""
        self._path = path
        records = [] if from_step is None else read_log(path)
        kept = [record for record in records if record["step"] <= (from_step or 0)]
        with atomic_write(path) as file:
            file.write("".join(json.dumps(record) + "\n" for record in kept).encode())

    def write(self, kind: str, step: int, **facts: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **facts}) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Records in order; a last line that a kill cut off is left out."""
    if not path.exists():
        return []
    whole = path.read_text("utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.split("\n") if line]

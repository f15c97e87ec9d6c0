"""Looking at processes: which there are, what they have done, and waiting for it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path


def children(word: str, of: int) -> list[int]:
    """Living processes of a process with this word on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Processes come and go while we look.
        with contextlib.suppress(OSError):
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == of and state != "Z" and word.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def has_ended(process: int) -> bool:
    """Whether its parent may be told: a moment before, it has no command line any more."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def wait_until(condition: Callable[[], object], patience_s: float = 30) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


def processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

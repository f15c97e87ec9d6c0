"""A folder that holds one evaluation: what was asked for and every finished query. A kill loses nothing of it.

manifest.json is the plan (what decides the results), the sessions that worked on it, and what came out at the end.
finished.jsonl has one line a finished query, forced to the disk as it is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ragkit.errors import DataError
from ragkit.files import atomic_write

FORMAT = 1
MANIFEST, FINISHED = "manifest.json", "finished.jsonl"
_SHOWN_DIFFERENCES = 20
# So much of a session's time is forgotten at most when it is killed.
_MANIFEST_EVERY_S = 30.0
_NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What a run's folder says of it.

    plan: what decides the results. sessions: each with when it began and ended, and where it ran.
    completed: what came out (measures, seconds, …); None while queries are missing.
    """

    plan: dict[str, Any]
    sessions: tuple[dict[str, Any], ...]
    completed: dict[str, Any] | None

    @property
    def seconds(self) -> float:
        """Of all sessions together, the time between them left out."""
        return sum(float(session.get("seconds", 0.0)) for session in self.sessions)


class RunFolder:
    """The run in `folder`, begun now or gone on with; one process at a time. A context manager.

    Args:
        plan: JSON facts that decide the results: settings, the data's fingerprint, the models' fingerprints, seed.
        session: JSON facts of this process that should not decide them: code version, device, precision.

    Raises:
        DataError: the folder's run has another plan, another process works on it, it is something else's folder,
            or it cannot be written.
    """

    def __init__(
        self, folder: Path, plan: Mapping[str, object], session: Mapping[str, object] | None = None
    ) -> None:
        self.folder = folder
        wanted: dict[str, Any] = json.loads(json.dumps(plan))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            is_new = not (folder / MANIFEST).exists()
            if is_new and any(folder.iterdir()) and not _is_barely_begun(folder):
                raise DataError(f"{folder} holds other files and no {MANIFEST}; name an empty or a new folder")
            if not is_new:
                _refuse_another_plan(folder, read_manifest(folder).plan, wanted)
            self._file = (folder / FINISHED).open("a+b")
        except OSError as error:
            raise DataError(f"cannot keep a run in {folder}: {error.strerror or error}") from error
        try:
            _lock(self._file.fileno(), folder)
            self.finished = self._read_finished()
            earlier = RunManifest(wanted, (), None) if is_new else read_manifest(folder)
        except BaseException:
            self._file.close()
            raise
        began = {"began": _now(), "queries_before": len(self.finished), **(session or {})}
        sessions = (*earlier.sessions, json.loads(json.dumps(began)))
        completed = _still_complete(earlier.completed, len(self.finished))
        self._manifest = RunManifest(wanted, sessions, completed)
        # A session that only shows what came out leaves no trace.
        self._only_shows = completed is not None
        self._started = self._written = time.monotonic()
        self._write_manifest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def manifest(self) -> RunManifest:
        """As it is on the disk, and with this session."""
        return self._manifest

    def record(self, rows: Mapping[str, Mapping[str, object]]) -> None:
        """Keep the rows of queries that are finished, by query id; on the disk when it returns.

        Raises:
            ValueError: a query was finished before.
            DataError: the disk does not take them.
        """
        again = [query for query in rows if query in self.finished]
        if again:
            raise ValueError(f"query {again[0]!r} was finished before")
        lines = {query: json.dumps({"query": query, **row}, ensure_ascii=False) for query, row in rows.items()}
        try:
            self._file.write("".join(f"{line}\n" for line in lines.values()).encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"{self.folder / FINISHED} cannot be written: {error.strerror or error}") from error
        self._only_shows = False
        self.finished.update((query, _row_of(line)) for query, line in lines.items())
        if time.monotonic() - self._written > _MANIFEST_EVERY_S:
            self._write_manifest()

    def note(self, facts: Mapping[str, object]) -> None:
        """Add JSON facts to what the manifest says of this session."""
        *earlier, session = self._manifest.sessions
        noted = {**session, **json.loads(json.dumps(facts))}
        self._manifest = replace(self._manifest, sessions=(*earlier, noted))
        self._write_manifest()

    def complete(self, facts: Mapping[str, object] | None = None) -> None:
        """Say that every query is finished, and what came out."""
        self._only_shows = False
        done = json.loads(json.dumps({"at": _now(), "queries": len(self.finished), **(facts or {})}))
        self._manifest = RunManifest(self._manifest.plan, self._manifest.sessions, done)
        self._write_manifest()

    def close(self) -> None:
        """Let another process have the folder."""
        if self._file.closed:
            return
        try:
            self._write_manifest()
        finally:
            self._file.close()

    def _read_finished(self) -> dict[str, dict[str, Any]]:
        """Rows by query. A last line that a kill tore is cut off: its query is not finished."""
        self._file.seek(0)
        whole = self._file.read()
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):
            self._file.truncate(len(kept))
        return dict(_rows(kept, self.folder / FINISHED))

    def _write_manifest(self) -> None:
        if self._only_shows:
            return
        *earlier, session = self._manifest.sessions
        session = {**session, "ended": _now(), "seconds": round(time.monotonic() - self._started, 3)}
        session["queries_after"] = len(self.finished)
        self._manifest = RunManifest(self._manifest.plan, (*earlier, session), self._manifest.completed)
        facts = {"format": FORMAT, "plan": self._manifest.plan, "sessions": self._manifest.sessions}
        facts["completed"] = self._manifest.completed
        with atomic_write(self.folder / MANIFEST) as file:
            file.write((json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
        self._written = time.monotonic()


def _still_complete(completed: dict[str, Any] | None, num_rows: int) -> dict[str, Any] | None:
    """None where rows were taken out since: their queries are to be done again."""
    return None if completed is None or completed["queries"] > num_rows else completed


def read_manifest(folder: Path) -> RunManifest:
    """What the folder of a run says of it.

    Raises:
        DataError: there is no run, or its manifest cannot be read.
    """
    path = folder / MANIFEST
    try:
        facts = json.loads(path.read_text("utf-8"))
        if facts["format"] != FORMAT:
            raise DataError(f"{path} has format {facts['format']!r}; this ragkit reads {FORMAT}")
        return RunManifest(dict(facts["plan"]), tuple(map(dict, facts["sessions"])), facts["completed"])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; name the folder of a run") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no manifest of a run: {error!r}") from error


def read_finished(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of the finished queries of a run that nothing works on now, by query id.

    Raises:
        DataError: there is no run, or a line is malformed.
    """
    path = folder / FINISHED
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; name the folder of a run") from error
    return dict(_rows(content[: content.rfind(b"\n") + 1], path))


def _rows(content: bytes, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw:
            continue
        try:
            line = raw.decode("utf-8")
            query = json.loads(line)["query"]
            yield str(query), _row_of(line)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: not the row of a query ({error!r}); take the line out") from error


def _row_of(line: str) -> dict[str, Any]:
    """As it is read back, so that a row means the same in the session that made it and in the next."""
    return {name: value for name, value in json.loads(line).items() if name != "query"}


def _is_barely_begun(folder: Path) -> bool:
    """Killed between its first two writes: an empty file of rows, perhaps a manifest that has no name yet."""
    names = {path.name for path in folder.iterdir()}
    unnamed = {name for name in names if name.startswith(f".{MANIFEST}.")}
    rows = folder / FINISHED
    return names - unnamed <= {FINISHED} and (not rows.exists() or rows.stat().st_size == 0)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"another process works on the run in {folder}; wait until it ends") from error


def _refuse_another_plan(folder: Path, there: Mapping[str, object], now: Mapping[str, object]) -> None:
    differences = list(_differences(there, now))
    if not differences:
        return
    shown = "\n".join(f"  {line}" for line in differences[:_SHOWN_DIFFERENCES])
    more = len(differences) - _SHOWN_DIFFERENCES
    rest = f"\n  and {more} more" if more > 0 else ""
    raise DataError(f"{folder} holds a run with another plan; give this one a folder of its own:\n{shown}{rest}")


def _differences(there: object, now: object, name: str = "") -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*there, *now)):
            below = f"{name}.{key}" if name else str(key)
            yield from _differences(there.get(key, _NOTHING), now.get(key, _NOTHING), below)
    elif there != now:
        yield f"{name}: {_shown(there)} there, {_shown(now)} now"


def _shown(value: object) -> str:
    return _NOTHING if value is _NOTHING else json.dumps(value, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

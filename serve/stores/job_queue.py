"""The work on vector stores, in rows that outlive the server."""

from __future__ import annotations

import json
import time

from ragkit.serve.stores.rows import Job, Outcome, StoreFileRow
from ragkit.serve.stores.state import (
    JOB_COLUMNS,
    STORE_FILE_COLUMNS,
    ServerState,
    job_row,
    store_file_row,
)

# So many servers may be killed while they work on a file before it is taken to be the reason.
_MOST_ATTEMPTS = 10
# Between two attempts at what must happen some time.
_LONGEST_WAIT_S = 300.0
# A document must not be added while the removal of another one of its name waits: it would be taken out again.
_REMOVAL_BEFORE = (
    "SELECT 1 FROM jobs AS earlier WHERE earlier.store = jobs.store AND earlier.kind = 'remove' "
    "AND earlier.document = jobs.document AND earlier.seq < jobs.seq"
)


class JobQueue:
    """Hands out one job at a time: changes and removals before new files, the stores in turn."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._served = ""
        # By number of job: when it may be tried again, in the clock of this process.
        self._later: dict[int, float] = {}
        self._failures: dict[int, int] = {}

    def next(self) -> Job | None:
        """The job whose turn it is; it stays in the queue until `done`."""
        now = time.monotonic()
        self._later = {seq: ready_at for seq, ready_at in self._later.items() if ready_at > now}
        for kinds in ("kind != 'add'", f"kind = 'add' AND NOT EXISTS ({_REMOVAL_BEFORE})"):
            waiting = list(self._later)
            marks = ", ".join("?" * len(waiting))
            query = f"SELECT store, min(seq) FROM jobs WHERE {kinds} AND seq NOT IN ({marks}) GROUP BY store"
            heads = dict(sorted(self._state.rows(query, waiting)))
            if heads:
                self._served = next((store for store in heads if store > self._served), next(iter(heads)))
                query = f"SELECT {JOB_COLUMNS} FROM jobs WHERE seq = ?"
                rows = self._state.rows(query, [heads[self._served]])
                return job_row(rows[0]) if rows else self.next()
        return None

    def count(self) -> int:
        """How many jobs there are."""
        return int(self._state.rows("SELECT count(*) FROM jobs")[0][0])

    def begin(self, job: Job) -> StoreFileRow | None:
        """Count one more attempt at a file; None where the job, or the file, was taken out meanwhile."""
        with self._state.change() as connection:
            if not connection.execute("SELECT 1 FROM jobs WHERE seq = ?", [job.seq]).fetchone():
                return None
            if job.kind == "add":
                change = "UPDATE store_files SET attempts = attempts + 1 WHERE store = ? AND file = ?"
                connection.execute(change, [job.store, job.file])
            query = f"SELECT {STORE_FILE_COLUMNS} FROM store_files WHERE store = ? AND file = ?"
            rows = connection.execute(query, [job.store, job.file]).fetchall()
        return store_file_row(rows[0]) if rows else None

    def postpone(self, job: Job) -> int:
        """Let others go first, the longer the more often it failed; returns how often that is now."""
        failures = self._failures[job.seq] = self._failures.get(job.seq, 0) + 1
        self._later[job.seq] = time.monotonic() + min(2.0 ** min(failures, 20), _LONGEST_WAIT_S)
        return failures

    def wait_s(self) -> float | None:
        """Until a postponed job may be tried again; None where there is none."""
        return max(0.0, min(self._later.values()) - time.monotonic()) if self._later else None

    def is_hopeless(self, row: StoreFileRow) -> bool:
        """Whether the server ended too often in the middle of this file."""
        return row.attempts > _MOST_ATTEMPTS

    def done(self, job: Job, outcome: Outcome | None = None) -> bool:
        """Take a job out of the queue; for a file with its outcome. False where it was taken out before."""
        self._later.pop(job.seq, None)
        self._failures.pop(job.seq, None)
        with self._state.change() as connection:
            there = connection.execute("DELETE FROM jobs WHERE seq = ?", [job.seq]).rowcount == 1
            if there and outcome is not None:
                connection.execute(
                    "UPDATE store_files SET status = ?, error_code = ?, error_message = ?, pages = ?, "
                    "warnings = ?, usage_bytes = CASE WHEN ? = 'completed' "
                    "THEN (SELECT bytes FROM files WHERE id = store_files.file) ELSE 0 END "
                    "WHERE store = ? AND file = ?",
                    [
                        outcome.status,
                        outcome.error_code,
                        outcome.error_message,
                        outcome.pages,
                        json.dumps(outcome.warnings),
                        outcome.status,
                        job.store,
                        job.file,
                    ],
                )
        return there

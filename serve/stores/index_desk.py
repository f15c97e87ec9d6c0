"""Gives the indexing process its work, and looks after what is over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ragkit.protocols import StoreCorpora
from ragkit.serve.stores.file_shelf import FileShelf
from ragkit.serve.stores.index_process import IndexProcess, Limits, NotStartedError, ProcessEndedError
from ragkit.serve.stores.job_queue import JobQueue
from ragkit.serve.stores.rows import FileProgress, Job, Outcome, StoreFileRow
from ragkit.serve.stores.store_files import StoreFiles
from ragkit.serve.stores.store_shelf import StoreShelf
from ragkit.serve_config import ServeConfig

_log = logging.getLogger("ragkit.serve")
_UPKEEP_S = 2.0
_LONGEST_WAIT_S = 60.0
# Of the indexing process, one after the other, before what waits is given up.
_MOST_FAILED_STARTS = 5
# Of one job, for reasons that lie with the server.
_MOST_FAILURES = 5


class IndexDesk:
    """Works on the queue for as long as the server runs. Any thread may call what is no coroutine."""

    def __init__(
        self,
        process: IndexProcess,
        corpora: StoreCorpora,
        files: FileShelf,
        stores: StoreShelf,
        store_files: StoreFiles,
        queue: JobQueue,
        settings: ServeConfig,
    ) -> None:
        self._process = process
        self._corpora = corpora
        self._files = files
        self._stores = stores
        self._store_files = store_files
        self._queue = queue
        self._settings = settings
        self._limits = Limits(settings.index_timeout_s, settings.index_memory_mb)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._job: Job | None = None
        self._unwanted = False
        self._progress = FileProgress()
        self._failed_starts = 0
        self._seen_end: Callable[[str], None] | None = None

    def watch(self, seen_end: Callable[[str], None]) -> None:
        """seen_end: called with the status of each file whose indexing has ended, on the event loop."""
        self._seen_end = seen_end

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works in the background until the block ends; what it was at goes on when the next server starts."""
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        if waiting := await asyncio.to_thread(self._queue.count):
            _log.info("indexing goes on where the last server ended", extra={"fields": {"jobs": waiting}})
        tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._keep_up())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._process.kill()
            self._loop = None

    def wake(self) -> None:
        """There may be something to do."""
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    def progress_of(self, store: str, file: str) -> FileProgress:
        """Of a file that is worked on; one that waits has come nowhere."""
        with self._lock:
            job = self._job
            is_on_desk = job is not None and job.kind == "add" and (job.store, job.file) == (store, file)
            return self._progress if is_on_desk else FileProgress()

    def stop(self, store: str, file: str | None = None) -> None:
        """End the work on a file, or on any file of a store."""
        with self._lock:
            job = self._job
            if job is not None and job.store == store and job.kind == "add" and file in (None, job.file):
                self._unwanted = True

    async def _work(self) -> None:
        while True:
            try:
                await self._work_once()
            except Exception:
                # Such as a database on a full disk, or no memory for a process: it may be well again later.
                _log.exception("looking for work on the vector stores failed; it is tried again")
                await asyncio.sleep(_UPKEEP_S)

    async def _work_once(self) -> None:
        """One job, or waiting for one."""
        self._woken.clear()
        job = await asyncio.to_thread(self._queue.next)
        if job is None:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: in Python 3.11 that loses a cancellation that comes together with the event.
                async with asyncio.timeout(self._queue.wait_s()):
                    await self._woken.wait()
            return
        try:
            await self._process.start()
        except NotStartedError as error:
            self._failed_starts += 1
            _log.error("%s; it is started again", error)
            if self._failed_starts >= _MOST_FAILED_STARTS:
                await self._give_up(job, "the server cannot index files now")
            await asyncio.sleep(min(2.0**self._failed_starts, _LONGEST_WAIT_S))
            return
        self._failed_starts = 0
        try:
            await self._do(job)
        except Exception:
            # The files after this one are still wanted, and so is this one.
            _log.exception("work on %s of %s failed", job.file, job.store)
            if self._queue.postpone(job) >= _MOST_FAILURES:
                await self._give_up(job, "the server could not index it; its log says why")

    async def _give_up(self, job: Job, reason: str) -> None:
        """A file fails; what was taken out or changed is tried again later, because it must happen some time."""
        if job.kind == "add":
            await self._end(job, Outcome("failed", "server_error", reason))
        else:
            self._queue.postpone(job)

    async def _do(self, job: Job) -> None:
        with self._lock:
            self._job, self._unwanted, self._progress = job, False, FileProgress()
        try:
            row = await asyncio.to_thread(self._queue.begin, job)
            if row is None and job.kind != "remove":
                await asyncio.to_thread(self._queue.done, job)
                return
            if row is not None and job.kind == "add" and self._queue.is_hopeless(row):
                await self._give_up(job, "the server ended each time it was at this file")
                return
            reply = await self._reply(job, row)
            if reply["status"] == "again" or (reply["status"] == "failed" and job.kind != "add"):
                # What was taken out must not be found, and what was changed must hold, some time.
                self._queue.postpone(job)
                return
            if job.kind == "add":
                await self._end(job, _outcome(reply))
            else:
                await asyncio.to_thread(self._queue.done, job)
        finally:
            with self._lock:
                self._job = None

    async def _end(self, job: Job, outcome: Outcome) -> None:
        """Of the work on a file. Neither its name is logged nor the reason, which may quote the file."""
        if not await asyncio.to_thread(self._queue.done, job, outcome):
            return
        told = {"store": job.store, "file": job.file, "status": outcome.status, "pages": outcome.pages}
        if outcome.error_code:
            told["code"] = outcome.error_code
        level = logging.WARNING if outcome.status == "failed" else logging.INFO
        _log.log(level, "indexing of a file has ended", extra={"fields": told})
        if self._seen_end is not None:
            self._seen_end(outcome.status)

    async def _reply(self, job: Job, row: StoreFileRow | None) -> dict[str, Any]:
        try:
            message = await asyncio.to_thread(self._message, job, row)
        except KeyError:
            return {"status": "cancelled"}
        try:
            return await self._process.do(message, self._limits, self._note_progress, lambda: self._unwanted)
        except ProcessEndedError as error:
            _log.error("%s of %s: %s", job.file, job.store, error.reason)
            return {"status": "failed", "code": "server_error", "message": error.reason}

    def _message(self, job: Job, row: StoreFileRow | None) -> dict[str, Any]:
        """What the indexing process is told. Raises KeyError where the store is gone."""
        store = self._stores.get(job.store)
        passages: dict[str, int | None] | None = None
        if store.max_tokens is not None:
            passages = {"max_tokens": store.max_tokens, "overlap_tokens": store.overlap_tokens}
        message: dict[str, Any] = {"job": job.seq, "do": job.kind, "store": job.store, "document": job.document}
        message |= {"passages": passages, "max_pages": self._settings.max_pages}
        if row is None:
            return message
        message["attributes"] = dict(row.attributes)
        if job.kind == "add":
            message["file"] = str(self._files.path(job.file).absolute())
            message["name"] = self._files.get(job.file).filename
        return message

    def _note_progress(self, progress: FileProgress) -> None:
        with self._lock:
            self._progress = progress

    async def _keep_up(self) -> None:
        await asyncio.to_thread(self._store_files.forget_gone)
        while True:
            try:
                await asyncio.to_thread(self._look_after)
            except Exception:
                _log.exception("looking after the vector stores failed; it is tried again")
            await asyncio.sleep(_UPKEEP_S)

    def _look_after(self) -> None:
        now = time.time()
        for store in self._stores.expire(now):
            self.stop(store)
            self._corpora.drop(store)
        for file in self._files.expired(now):
            for store in self._store_files.detach_everywhere(file):
                self.stop(store, file)
            self._files.forget(file)
            self.wake()
        job = self._job
        self._corpora.sweep(None if job is None else job.store)


def _outcome(reply: dict[str, Any]) -> Outcome:
    return Outcome(
        reply["status"],
        reply.get("code"),
        reply.get("message", ""),
        reply.get("pages", 0),
        tuple(reply.get("warnings", ())),
    )

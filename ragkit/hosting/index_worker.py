"""A process that indexes for a server: jobs come as lines of JSON on stdin, what happens goes to stdout.

It opens files that nobody can vouch for, so whoever started it watches its time and memory and may kill it at any
moment: a corpus is always in one committed state. It ends when stdin does. Messages:

    in:  {"config": …, "folder": …}                                        the first line
         {"job": 1, "do": "add", "store": …, "file": …, "document": …, "name": …, "attributes": …,
          "passages": {"max_tokens": …, "overlap_tokens": …} or null, "max_pages": …}
         {"job": 2, "do": "attributes", "store": …, "document": …, "attributes": …}
         {"job": 3, "do": "remove", "store": …, "document": …}
         {"cancel": 1}
    out: {"ready": true}                                                   the models are loaded
         {"job": 1, "stage": "reading", "pages_done": 3, "pages": 12, "passages_done": 0, "passages": 0}
         {"job": 1, "committed": true}                                     what follows is for the whole store
         {"job": 1, "status": "completed" or "failed" or "cancelled" or "again", "code": …, "message": …,
          "pages": …, "warnings": […]}
"""

from __future__ import annotations

import io
import json
import logging
import queue
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ragkit.errors import (
    CorpusError,
    CorpusLockedError,
    DocumentError,
    MissingExtraError,
    RagkitError,
    UnsupportedFileError,
)
from ragkit.hosting.child_process import end_with_children, give_way, own_channels
from ragkit.serve.engines.upstream_errors import without_places

if TYPE_CHECKING:
    from ragkit.hosting.store_corpus import StoreCorpus, StoreModels
    from ragkit.indexers.index_report import IndexProgress, IndexReport
    from ragkit.records import FileRecord

_log = logging.getLogger("ragkit.hosting.index_worker")
Message = dict[str, Any]
# Corpora that are kept open, so that a store's next file need not wait for it.
_MOST_OPEN = 8
_NICE = 10
_LONGEST_REASON = 1000
_MOST_WARNINGS = 20
_MOST_COPIES = 3
# What clients call the stages of a run.
_STAGES = {"read": "reading", "embed": "embedding", "index": "writing"}
_LOGGED = "the server could not index it; its log says why"


class IndexWorker:
    """Does one job after the other with models that stay loaded. tell: sends a message out."""

    def __init__(self, folder: Path, models: StoreModels, mailbox: Mailbox) -> None:
        self._folder = folder
        self._models = models
        self._mailbox = mailbox
        self._open: OrderedDict[tuple[str, str], StoreCorpus] = OrderedDict()

    def work(self, message: Message) -> None:
        """Do a job and tell how it ended."""
        try:
            outcome = self._done(message)
        except CorpusLockedError as error:
            _log.warning("job %s: %s", message["job"], error)
            outcome = {"status": "again"}
        except KeyboardInterrupt:
            outcome = {"status": "cancelled"}
        except MissingExtraError as error:
            outcome = _failure("server_error", f"the server lacks what reads this kind of file: {error}")
        except Exception:
            # Of every class: readers and models meet bytes that nobody has seen before.
            _log.exception("job %s: %s of %s failed", message["job"], message["do"], message["store"])
            outcome = _failure("server_error", _LOGGED)
        self._mailbox.tell({"job": message["job"], **outcome})

    def _done(self, message: Message) -> Message:
        corpus = self._corpus(message["store"], message.get("passages"))
        if message["do"] == "add":
            return self._add(corpus, message)
        if message["do"] == "remove":
            corpus.remove(message["document"])
        elif corpus.holds(message["document"]):
            corpus.set_attributes({message["document"]: message["attributes"]})
        return {"status": "completed"}

    def _add(self, corpus: StoreCorpus, message: Message) -> Message:
        from ragkit.records import FileRecord

        path, name = Path(message["file"]), message["name"]
        record = FileRecord(message["document"], path, name, message["attributes"])
        teller = _PageTeller(self._mailbox, message["job"])
        report = corpus.add(record, max_pages=message["max_pages"], progress=teller)
        if self._mailbox.is_cancelled(message["job"]):
            return {"status": "cancelled"}
        outcome = _outcome_of(report, record, teller.pages, self._folder)
        if outcome["status"] == "completed" and (copies := corpus.copies_of(record.id)):
            outcome["warnings"].append(_same_bytes(copies))
        return outcome

    def _corpus(self, store: str, passages: Mapping[str, int] | None) -> StoreCorpus:
        from ragkit.hosting.store_corpus import FOLDER, StoreCorpus

        key = (store, json.dumps(passages))
        if key not in self._open:
            self._close(store)
            path = self._folder / FOLDER / store
            StoreCorpus.make(path, self._models)
            self._open[key] = StoreCorpus(path, self._models, passages)
        self._open.move_to_end(key)
        while len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return self._open[key]

    def _close(self, store: str) -> None:
        for key in [key for key in self._open if key[0] == store]:
            self._open.pop(key).close()


class Mailbox:
    """Messages in and out. When they end, so does the process, in the middle of whatever it does."""

    def __init__(self, incoming: TextIO, outgoing: TextIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._jobs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._cancelled: set[int] = set()

    def start(self) -> None:
        """Read what comes in a thread of its own."""
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Message:
        """Waits for the next job."""
        return self._jobs.get()

    def tell(self, message: Message) -> None:
        """Send a message out."""
        self._outgoing.write(json.dumps(message) + "\n")
        self._outgoing.flush()

    def is_cancelled(self, job: int) -> bool:
        """Whether a job is not wanted any more."""
        return job in self._cancelled

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._incoming:
                message = json.loads(line)
                if "cancel" in message:
                    self._cancelled.add(message["cancel"])
                else:
                    self._jobs.put(message)
        end_with_children()


class _PageTeller:
    """Tells how many pages of a document are done; ends its indexing where it is not wanted any more."""

    def __init__(self, mailbox: Mailbox, job: int) -> None:
        self._mailbox = mailbox
        self._job = job
        self._told: dict[str, str | int] = {}
        self.pages = 0

    def __call__(self, progress: IndexProgress) -> None:
        if self._mailbox.is_cancelled(self._job):
            # What Ctrl-C does: the run ends, and what was committed stays.
            raise KeyboardInterrupt
        self.pages = max(self.pages, progress.document_pages)
        done = progress.document_pages_done if progress.stage == "read" else self.pages
        embedded, passages = self._passages(progress)
        now: dict[str, str | int] = {"stage": _STAGES[progress.stage], "pages_done": done, "pages": self.pages}
        now |= {"passages_done": embedded, "passages": passages}
        if now != self._told:
            self._told = now
            self._mailbox.tell({"job": self._job, **now})
        if progress.stage == "index":
            self._mailbox.tell({"job": self._job, "committed": True})

    def _passages(self, progress: IndexProgress) -> tuple[int, int]:
        """Embedded, and of how many: texts; or pictures, of which each page is one."""
        if progress.stage != "embed":
            return 0, 0
        if passages := progress.passages_done + progress.passages_pending:
            return progress.passages_done, passages
        return min(progress.pages_done, self.pages), self.pages


def _outcome_of(report: IndexReport, record: FileRecord, pages: int, folder: Path) -> Message:
    problems = [*report.skipped, *report.failed]
    if problems:
        unsupported = bool(report.skipped) or _is_unsupported(record.path, record.name)
        reason = _without_paths(problems[0].reason, record.path, folder)
        return _failure("unsupported_file" if unsupported else "invalid_file", reason)
    there = {*report.added, *report.changed, *report.unchanged}
    if there != {record.id}:
        raise CorpusError(f"{record.id!r} was to be indexed, and {sorted(there)!r} was")
    warnings = [
        _without_paths(problem.reason, record.path, folder)
        for problem in report.warnings
        if problem.path == str(record.path)
    ]
    if len(warnings) > _MOST_WARNINGS:
        warnings[_MOST_WARNINGS:] = [f"and {len(warnings) - _MOST_WARNINGS} more"]
    return {"status": "completed", "pages": report.num_pages or pages, "warnings": warnings}


def _same_bytes(copies: list[str]) -> str:
    more = f" and {len(copies) - _MOST_COPIES} more" if len(copies) > _MOST_COPIES else ""
    return f"the same bytes are in this vector store as {', '.join(map(repr, copies[:_MOST_COPIES]))}{more}"


def _is_unsupported(path: Path, name: str) -> bool:
    """Whether the file is of no kind that is read."""
    from ragkit.indexers.readers.documents import media_type_of
    from ragkit.indexers.readers.media_types import TEXT, begins_as_text, kind_by_suffix

    try:
        media_type, _ = media_type_of(path, name)
        # What neither name nor content tells is read as text, and most of what then fails is none.
        is_guessed = media_type == TEXT and kind_by_suffix(Path(name)) is None
        return is_guessed and not begins_as_text(path)
    except UnsupportedFileError:
        return True
    except (DocumentError, OSError):
        return False


def _without_paths(reason: str, path: Path, folder: Path) -> str:
    """Clients read it: no path of the server."""
    for place, shown in ((str(path), "the file"), (str(folder.resolve()), "…"), (str(folder), "…")):
        reason = reason.replace(place, shown)
    # Libraries name files of theirs: models, fonts, what they made for a while.
    reason = without_places(reason)
    # Parsers quote whatever they met.
    return reason.encode("utf-8", "replace").decode()[:_LONGEST_REASON]


def _failure(code: str, message: str) -> Message:
    return {"status": "failed", "code": code, "message": message}


def main() -> None:
    """Work until stdin ends."""
    incoming, outgoing = (io.TextIOWrapper(channel, encoding="utf-8") for channel in own_channels())
    # Ctrl-C reaches the server, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way(_NICE)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    first = json.loads(incoming.readline())
    mailbox = Mailbox(incoming, outgoing)
    mailbox.start()
    from ragkit.config import parse_config
    from ragkit.hosting.store_corpus import StoreModels

    try:
        models = StoreModels.load(parse_config(first["config"]), to_answer=False)
    except RagkitError as error:
        _log.error("%s", error)
        sys.exit(1)
    worker = IndexWorker(Path(first["folder"]), models, mailbox)
    mailbox.tell({"ready": True})
    while True:
        worker.work(mailbox.next())


if __name__ == "__main__":
    main()

"""The corpora a server answers from."""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ragkit.corpus import Corpus
from ragkit.errors import ConfigError
from ragkit.hosting.store_corpus import FOLDER, StoreCorpus, StoreModels
from ragkit.protocols import ServedCorpus
from ragkit.serve.stores.store_shelf import StoreShelf

# Each open corpus holds several files open, and systems allow a process about a thousand.
_MOST_OPEN = 64


class FolderLibrary:
    """A `CorpusLibrary` over opened corpora, called by their folders' names, and over a server's vector stores."""

    def __init__(self, corpora: Sequence[Corpus], stores: StoreFolder | None = None) -> None:
        self._corpora: dict[str, Corpus] = {}
        self._stores = stores
        for corpus in corpora:
            if corpus.name in self._corpora:
                first = self._corpora[corpus.name].path
                raise ConfigError(
                    f"{first} and {corpus.path} have the same name {corpus.name!r}; rename one folder"
                )
            self._corpora[corpus.name] = corpus

    def names(self) -> list[str]:
        """In the order the corpora were given, then the vector stores' ids, oldest first."""
        return [*self._corpora, *(self._stores.shelf.ids() if self._stores else ())]

    def corpus(self, name: str) -> ServedCorpus:
        """The corpus of a folder's name, or of a vector store's id, or of its name where no other has it.

        Raises:
            KeyError: there is none of that name, or the vector store has expired.
        """
        if name in self._corpora:
            return self._corpora[name]
        if self._stores is None:
            raise KeyError(name)
        return self._stores.open(self._stores.shelf.find(name).id)

    def at_hand(self, name: str) -> ServedCorpus | None:
        """A folder's corpus: for those of vector stores the database is asked."""
        return self._corpora.get(name)


class StoreFolder:
    """The `StoreCorpora` of a folder: opened when they are first asked for. Threads may share it."""

    def __init__(self, folder: Path, models: StoreModels, shelf: StoreShelf) -> None:
        self._folder = folder / FOLDER
        self._models = models
        self._lock = threading.Lock()
        self._open: OrderedDict[str, StoreCorpus] = OrderedDict()
        self._dropped: dict[str, StoreCorpus | None] = {}
        self.shelf = shelf

    def open(self, store: str) -> ServedCorpus:
        """The corpus of a vector store; an empty one where nothing was indexed yet."""
        with self._lock:
            if store in self._dropped:
                raise KeyError(store)
            if store not in self._open:
                # It may have been deleted, folder and all, since it was found.
                if not self.shelf.has(store):
                    raise KeyError(store)
                path = self._folder / store
                StoreCorpus.make(path, self._models)
                due = partial(self.shelf.changes_due, store)
                self._open[store] = StoreCorpus(path, self._models, changes_due=due)
            self._open.move_to_end(store)
            corpus = self._open[store]
            self._close_some()
        self.shelf.touch(store)
        return corpus

    def _close_some(self) -> None:
        """Those that nobody works with and that were asked for longest ago. Whoever holds one can still use it."""
        newest = next(reversed(self._open))
        idle = [store for store, corpus in self._open.items() if store != newest and not corpus.is_used]
        for store in idle[: max(0, len(self._open) - _MOST_OPEN)]:
            self._open.pop(store).close()

    def drop(self, store: str) -> None:
        """Hand it out no more; `sweep` deletes it."""
        with self._lock:
            corpus = self._open.pop(store, None)
            # An expired store that is deleted is dropped twice; its corpus may still be in use.
            if corpus is not None or store not in self._dropped:
                self._dropped[store] = corpus

    def sweep(self, busy: str | None) -> None:
        """Delete what was dropped, and what belongs to no store, once nobody works with it.

        busy: the store whose corpus is written to at the moment; it is left alone.

        Raises:
            OSError: a folder cannot be deleted; the others were.
        """
        failures = []
        # Outside of the lock: deleting a large corpus takes a while, in which the others are to be had.
        for store, corpus in self._over(busy).items():
            try:
                if corpus is not None:
                    corpus.close()
                if (self._folder / store).exists():
                    shutil.rmtree(self._folder / store)
            except OSError as error:
                failures.append(error)
                continue
            with self._lock:
                del self._dropped[store]
        if failures:
            raise failures[0]

    def _over(self, busy: str | None) -> dict[str, StoreCorpus | None]:
        """What may be deleted now; nobody can begin to work with it any more."""
        with self._lock:
            # In this order: a store is known before it has a folder.
            folders = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
            alive = set(self.shelf.ids())
            for name in folders:
                if name not in alive and name not in self._open:
                    self._dropped.setdefault(name, None)
            return {
                store: corpus
                for store, corpus in self._dropped.items()
                if store != busy and (corpus is None or corpus.retire())
            }

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for corpus in self._open.values():
                corpus.close()
            self._open.clear()

"""All that a server with a folder of its own has beside its corpora."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ragkit.protocols import StoreCorpora
from ragkit.serve.stores.file_shelf import FileShelf
from ragkit.serve.stores.index_desk import IndexDesk
from ragkit.serve.stores.index_process import IndexProcess
from ragkit.serve.stores.job_queue import JobQueue
from ragkit.serve.stores.state import ServerState
from ragkit.serve.stores.store_files import StoreFiles
from ragkit.serve.stores.store_shelf import StoreShelf
from ragkit.serve.stores.upload_room import UploadRoom
from ragkit.serve_config import ServeConfig


@dataclass(frozen=True)
class ServerStores:
    """Files, vector stores, and the desk that indexes."""

    state: ServerState
    corpora: StoreCorpora
    files: FileShelf
    stores: StoreShelf
    store_files: StoreFiles
    desk: IndexDesk
    room: UploadRoom

    @classmethod
    def open(
        cls,
        state: ServerState,
        stores: StoreShelf,
        corpora: StoreCorpora,
        settings: ServeConfig,
        config: dict[str, Any],
    ) -> ServerStores:
        """config: of the corpora, as JSON, for the process that indexes."""
        files, store_files = FileShelf(state), StoreFiles(state)
        process = IndexProcess({"config": config, "folder": str(state.folder.absolute())})
        desk = IndexDesk(process, corpora, files, stores, store_files, JobQueue(state), settings)
        return cls(state, corpora, files, stores, store_files, desk, UploadRoom(files, settings))

    def delete_file(self, file: str) -> None:
        """Take a file out of all stores and delete it. Raises KeyError where there is none."""
        self.files.get(file)
        for store in self.store_files.detach_everywhere(file):
            self.desk.stop(store, file)
        self.files.forget(file)
        self.desk.wake()

    def detach(self, store: str, file: str) -> None:
        """Take a file out of one store. Raises KeyError where it is not there."""
        self.store_files.detach(store, file)
        self.desk.stop(store, file)
        self.desk.wake()

    def delete_store(self, store: str) -> None:
        """Delete a store and its corpus, but for the files. Raises KeyError where there is none."""
        self.stores.delete(store)
        self.desk.stop(store)
        self.corpora.drop(store)

    def cancel(self, store: str, batch: str) -> None:
        """End a batch before its next file. Raises KeyError where there is none."""
        self.store_files.cancel(store, batch)

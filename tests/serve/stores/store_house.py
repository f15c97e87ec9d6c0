"""A real server with a folder for files and vector stores; its corpora are searched by BM25."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from ragkit.config import parse_config
from ragkit.corpus import Corpus
from ragkit.hosting.drawing_pool import DrawingPool
from ragkit.hosting.library import FolderLibrary
from ragkit.hosting.served_engine import ServedEngine
from ragkit.hosting.served_stores import served_stores
from ragkit.serve.api.app import create_app
from ragkit.serve.stores.server_stores import ServerStores
from tests.serve.house import running

PATIENCE_S = 120.0
_UPKEEP_S = 0.2


@dataclass(frozen=True)
class StoreServer:
    """client: the stock one, which tries nothing twice. stores: what the server works with."""

    url: str
    client: openai.OpenAI
    stores: ServerStores
    folder: Path

    def upload(self, name: str, content: bytes | str) -> str:
        """The id of a new file."""
        raw = content.encode() if isinstance(content, str) else content
        return self.client.files.create(file=(name, raw), purpose="assistants").id

    def store_of(self, files: dict[str, bytes | str], **fields: Any) -> str:
        """The id of a new vector store in which these files are."""
        store = self.client.vector_stores.create(**fields).id
        ids = [self.upload(name, content) for name, content in files.items()]
        self.attach(store, ids)
        return store

    def attach(self, store: str, ids: Sequence[str]) -> None:
        """Put files into a store, and wait until all of them are indexed."""
        self.client.vector_stores.file_batches.create(store, file_ids=list(ids))
        self.wait(lambda: self.client.vector_stores.retrieve(store).file_counts.in_progress == 0)

    def wait(self, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Until it holds. Looked for less and less often, for it takes time from what is waited for."""
        end, pause_s = time.monotonic() + patience_s, 0.02
        while not condition():
            assert time.monotonic() < end, "timed out"
            time.sleep(pause_s)
            pause_s = min(0.25, 1.3 * pause_s)

    def texts(self, store: str, query: str, **fields: Any) -> list[str]:
        """What a search finds."""
        found = self.client.vector_stores.search(store, query=query, **fields)
        return [hit.content[0].text for hit in found]


@contextmanager
def store_server(
    folder: Path, corpora: Sequence[Corpus] = (), ocr: str = "never", **serve: Any
) -> Iterator[StoreServer]:
    """serve: settings of [serve]."""
    config = parse_config({"embedder": {"name": "none"}, "documents": {"ocr": ocr}, "serve": serve})
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("ragkit.serve.stores.index_desk._UPKEEP_S", _UPKEEP_S)
        drawing = stack.enter_context(DrawingPool.of(config.serve))
        kept = stack.enter_context(served_stores(folder, ServedEngine(config), drawing.draw))
        library = FolderLibrary(corpora, kept.corpora)
        app = create_app(library, None, config.serve, stores=kept.stores)
        url = stack.enter_context(running(app))
        client = stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))
        yield StoreServer(url, client, kept.stores, folder)

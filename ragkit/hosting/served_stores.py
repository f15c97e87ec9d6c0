"""The files and vector stores of a server, wired to corpora."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragkit.assemble import EmbedderFactory
from ragkit.hosting.library import StoreFolder
from ragkit.hosting.served_engine import ServedEngine
from ragkit.hosting.store_corpus import StoreModels
from ragkit.indexers.page_images import Redraw
from ragkit.serve.stores.server_stores import ServerStores
from ragkit.serve.stores.state import ServerState
from ragkit.serve.stores.store_shelf import StoreShelf


@dataclass(frozen=True, slots=True)
class ServedStores:
    """What the server's routes use, and the corpora behind it."""

    stores: ServerStores
    corpora: StoreFolder


@contextmanager
def served_stores(
    folder: Path, answering: ServedEngine, redraw: Redraw, make_embedder: EmbedderFactory | None = None
) -> Iterator[ServedStores]:
    """While the server runs. answering: the engine that all corpora share; none: the configuration's, made here.

    redraw: draws the pages whose pictures are not kept. make_embedder: loads embedders of texts, by default here.

    Raises:
        ConfigError: another server uses the folder, or a model cannot be loaded.
    """
    state = ServerState(folder)
    config = answering.config
    try:
        shelf = StoreShelf(state)
        models = StoreModels.load(
            config, to_answer=True, engine=answering.engine, redraw=redraw, make_embedder=make_embedder
        )
        corpora = StoreFolder(folder, models, shelf)
        told = config.model_dump(mode="json", exclude_unset=True)
        yield ServedStores(ServerStores.open(state, shelf, corpora, config.serve, told), corpora)
        corpora.close()
    finally:
        state.close()

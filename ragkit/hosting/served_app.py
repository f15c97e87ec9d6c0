"""The application of a server, wired to corpora, models and the processes that it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.devices import share_cores
from ragkit.hosting.drawing_pool import DrawingPool
from ragkit.hosting.library import FolderLibrary
from ragkit.hosting.process_embedder import EmbeddingProcesses
from ragkit.hosting.search_batches import NUM_WORKERS
from ragkit.hosting.served_engine import served_engine
from ragkit.hosting.served_stores import served_stores
from ragkit.records import Sampling
from ragkit.serve.api.app import create_app
from ragkit.serve.guards.server_end import ServerEnd

if TYPE_CHECKING:
    from fastapi import FastAPI


class ServedApp(NamedTuple):
    """What `run_server` runs."""

    app: FastAPI
    end: ServerEnd


@contextmanager
def served_app(
    settings: Config,
    folders: Sequence[Path],
    store: Path | None = None,
    vllm: tuple[str, str] = ("", ""),
    any_host: bool = False,
) -> Iterator[ServedApp]:
    """An application over these corpora and the store, with models loaded; what it started ends behind it.

    store: folder of files and vector stores. vllm: a model for which vLLM's server is started, and its Python.
    any_host: as of `create_app`.

    Raises:
        ConfigError, RagkitError: a corpus cannot be opened, or its models cannot be loaded.
        EngineError: vLLM's server did not start.
    """
    with ExitStack() as running:
        answering = running.enter_context(served_engine(settings, *vllm))
        drawing = running.enter_context(DrawingPool.of(settings.serve))
        embedding = running.enter_context(EmbeddingProcesses())
        opened = [
            Corpus.open(
                folder,
                config=answering.config,
                engine=answering.engine,
                create=False,
                redraw=drawing.draw,
                make_embedder=embedding.make,
            )
            for folder in folders
        ]
        for one in opened:
            one.load()
        stores = None if store is None else served_stores(store, answering, drawing.draw, embedding.make)
        kept = None if stores is None else running.enter_context(stores)
        share_cores(NUM_WORKERS)
        generation = (opened[0].config if opened else answering.config).generation
        end = ServerEnd(settings.serve.shutdown_timeout_s, embedding.close)
        app = create_app(
            FolderLibrary(opened, kept.corpora if kept else None),
            Sampling(generation.max_tokens, generation.temperature),
            settings.serve,
            answering.upstreams,
            kept.stores if kept else None,
            end,
            any_host,
        )
        yield ServedApp(app, end)

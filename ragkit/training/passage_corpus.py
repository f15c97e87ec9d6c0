"""An index of the passages of a training folder, kept in the cache: what negatives are mined in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ragkit.config import Config, RerankConfig
from ragkit.corpus import Corpus
from ragkit.evaluations.indexing import index_all
from ragkit.files import cache_folder
from ragkit.indexers.index_report import IndexProgress
from ragkit.records import FileRecord, TextRecord
from ragkit.retrievers.training.examples import TrainingPassage, line_of


def open_passages(
    passages: Mapping[str, TrainingPassage],
    pictures: Path,
    config: Config,
    progress: Callable[[IndexProgress], None] | None = None,
) -> Corpus:
    """A corpus in which each passage is a document, of that id; made where the cache does not have it.

    Args:
        pictures: the folder that pictures' paths start from.
        config: how it is indexed and searched, but for reranking.
    """
    settings = config.model_copy(update={"rerank": RerankConfig()})
    if any(passage.image for passage in passages.values()):
        pages = settings.pages.model_copy(update={"embed": "image"})
        settings = settings.model_copy(update={"pages": pages})
    corpus = Corpus.open(_folder(passages, settings), config=settings)
    try:
        index_all(corpus, _records(passages, pictures), progress, "passages")
    except BaseException:
        corpus.close()
        raise
    return corpus


def _records(passages: Mapping[str, TrainingPassage], pictures: Path) -> Iterator[TextRecord | FileRecord]:
    for passage in passages.values():
        if passage.image:
            path = (pictures / passage.image).absolute()
            yield FileRecord(passage.id, path, path.name)
        else:
            yield TextRecord(passage.id, passage.text, passage.title)


def _folder(passages: Mapping[str, TrainingPassage], config: Config) -> Path:
    digest = hashlib.sha256()
    for passage in passages.values():
        digest.update(line_of(passage))
    for table in (config.passages, config.embedder, config.pages, config.page_embedder):
        digest.update(repr(table).encode())
    return cache_folder() / "training" / digest.hexdigest()[:16]

"""A whole ragkit pipeline as mteb searches with it: documents in, then queries, scores out.

mteb scores what is found by pytrec_eval: equal float32 scores by descending id, as `ranking_metrics` does. Scores
are handed over as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ragkit import __version__
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError
from ragkit.eval.runs.retrieval import run_queries
from ragkit.eval.sets.trec import Run
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.beir_evaluation import document_search
from ragkit.evaluations.retrieval.mteb_pictures import Rows, picture_files
from ragkit.evaluations.retrieval.page_evaluation import reads_pictures
from ragkit.evaluations.retrieval.visual_evaluation import picture_search
from ragkit.extras import require
from ragkit.files import cache_folder, sha256_of
from ragkit.records import FileRecord, Filter, TextRecord

_INDEX_TABLES = ("documents", "passages", "embedder", "lexical", "pages", "page_embedder", "late_interaction")
_KINDS = {"bm25": "sparse", "dense": "dense", "hybrid": "hybrid"}


class RagkitSearch:
    """A whole ragkit pipeline as mteb's `SearchProtocol`. A context manager, or close it."""

    def __init__(self, config: Config, folder: Path | None = None, name: str = "pipeline") -> None:
        """A pipeline of these settings.

        Args:
            folder: of the corpus, for one task; else each task has one in the cache, by its documents.
            name: what mteb's results call it, after "ragkit/".
        """
        self._config = config
        self._given_folder = folder
        self._name = name
        self._corpus: Corpus | None = None
        self._has_pictures = False

    @property
    def mteb_model_meta(self) -> Any:
        """`mteb.ModelMeta`: the method as kind of model, and a hash of all settings as revision."""
        settings = hashlib.sha256(self._config.model_dump_json().encode()).hexdigest()[:12]
        facts = {
            "name": f"ragkit/{self._name}",
            "revision": f"{__version__}-{settings}",
            "model_type": [_KINDS[self._config.retrieval.method]],
            "modalities": ["text", "image"] if reads_pictures(self._config) else ["text"],
        }
        return require("mteb.models.model_meta").ModelMeta.create_empty(facts)

    def index(
        self, corpus: Rows, *, task_metadata: Any, hf_subset: str = "", hf_split: str = "", **_others: object
    ) -> None:
        """Index a task's documents; what the folder holds already is not embedded again.

        Where documents have pictures and the settings read pictures, these are what is indexed.

        Raises:
            ConfigError: they are neither texts, nor pictures that the settings read.
            DataError: one cannot be indexed.
        """
        self.close()
        self._has_pictures = "image" in corpus.column_names and bool(reads_pictures(self._config))
        if self._has_pictures:
            revision = str(task_metadata.dataset["revision"])
            name = f"mteb-{task_metadata.name}-{hf_subset}-{hf_split}-{revision[:12]}"
            documents: list[TextRecord | FileRecord] = [*picture_files(corpus, cache_folder() / "eval" / name)]
        elif "text" in corpus.column_names:
            documents = [*_records(corpus)]
        else:
            raise ConfigError(
                f"the documents of {task_metadata.name} have {', '.join(corpus.column_names)}: no text, and no "
                "picture that the settings read; for pictures set pages.embed = 'image' and page_embedder.name"
            )
        self._corpus = Corpus.open(self._given_folder or self._cached(documents), config=self._config)
        index_all(self._corpus, documents)

    def search(
        self,
        queries: Rows,
        *,
        top_k: int,
        top_ranked: Mapping[str, Iterable[str]] | None = None,
        **_others: object,
    ) -> Run:
        """Scores by query and document id, every query with an entry, of whole documents.

        Args:
            top_ranked: by query, the documents that are ranked at all (mteb's reranking tasks).

        Raises:
            ConfigError: a query is no text.
        """
        assert self._corpus is not None, "mteb indexes before it searches"
        make_search = picture_search if self._has_pictures else document_search
        texts = {str(row["id"]): _query_text(row) for row in queries}
        if top_ranked is None:
            return run_queries(texts, make_search(self._corpus), top_k)
        found: Run = {}
        for query, text in texts.items():
            only = Filter(documents=frozenset(top_ranked[query]))
            found |= run_queries({query: text}, make_search(self._corpus, only), top_k)
        return found

    def close(self) -> None:
        """Give back the corpus that is open."""
        if self._corpus is not None:
            self._corpus.close()
            self._corpus = None

    def __enter__(self) -> RagkitSearch:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _cached(self, documents: Iterable[TextRecord | FileRecord]) -> Path:
        """A folder of the cache, named by the documents and by the settings that decide what is indexed."""
        digest = hashlib.sha256()
        for record in documents:
            facts = [record.title, record.text] if isinstance(record, TextRecord) else [sha256_of(record.path)]
            digest.update(json.dumps([record.id, *facts]).encode())
        digest.update(repr([getattr(self._config, table) for table in _INDEX_TABLES]).encode())
        return cache_folder() / "eval" / f"mteb-{digest.hexdigest()[:16]}"


def _records(corpus: Rows) -> Iterable[TextRecord]:
    return (TextRecord(str(row["id"]), row["text"], row.get("title") or "") for row in corpus)


def _query_text(row: Mapping[str, Any]) -> str:
    """A query's text, with its instruction after it, as mteb itself joins them."""
    text = row["text"]
    if not isinstance(text, str):
        kind = type(text).__name__
        raise ConfigError(f"query {row['id']!r} is a {kind}; ragkit runs mteb's queries of plain text")
    return f"{text} {row['instruction']}" if row.get("instruction") else text

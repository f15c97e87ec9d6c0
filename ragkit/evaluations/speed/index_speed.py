"""`ragkit eval speed --scale`: what a corpus's vector index costs at each size, beside bare FAISS."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ragkit import __version__
from ragkit.config import Config, IndexConfig, RetrievalConfig
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.speed.bare_index import (
    build_bare,
    compare_searches,
    exact_rows,
    read_bare,
    recall_of,
    save_bare,
    set_effort,
)
from ragkit.eval.speed.clustered_vectors import (
    ClusteredEmbedder,
    clustered_queries,
    clustered_records,
    clustered_vectors,
)
from ragkit.eval.speed.index_speed import (
    Build,
    Change,
    ChangedSearches,
    IndexSpeed,
    IndexSpeedPlan,
    Opening,
)
from ragkit.eval.speed.index_speed_report import IndexSpeedReport
from ragkit.eval.speed.timing import Comparison, machine_facts
from ragkit.evaluations.speed.index_changes import WRITTEN, copy_corpus, measure_changes, timed
from ragkit.evaluations.speed.index_probe import TOP, WHATS, Probe, What, opening
from ragkit.extras import require
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.index_report import IndexProgress
from ragkit.indexers.shards import space_files
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors.shard_index import IndexFacts, training_sample
from ragkit.indexers.vectors.vector_indexes import index_facts, open_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS, read_shards
from ragkit.records import FloatArray, KeyArray

_TELL_EVERY_S = 10.0

Tell = Callable[[str], None]


def measure_index_speed(
    config: Config, plan: IndexSpeedPlan, data: Path | None = None, tell: Tell = lambda _: None
) -> IndexSpeedReport:
    """Measure every kind of index at every size, over clustered vectors that are ready.

    Args:
        config: its tables index and lexical count; index.kind is each kind in turn, and index.min_vectors at most
            half of the passages.
        data: folder that keeps the corpora and the bare indexes; what lies there from an earlier run is used, and
            made anew where that had other settings, or another ragkit or FAISS.
        tell: called with a line about what is going on.

    Raises:
        DataError: this system does not tell what memory a process has, or a process failed.
    """
    if not WRITTEN.exists():
        raise DataError(f"memory and bytes written are told below {WRITTEN.parent}, which is not here")
    results: list[IndexSpeed] = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in plan.sizes:
            scale = Scale(data or Path(temporary), config, plan, size, tell)
            results += [scale.measure(kind) for kind in plan.kinds]
    return IndexSpeedReport(tuple(results), {**machine_facts(), **_facts(plan)})


def _facts(plan: IndexSpeedPlan) -> dict[str, str | int]:
    faiss = require("faiss")
    return {
        "faiss": str(faiss.__version__),
        "faiss_threads": int(faiss.omp_get_max_threads()),
        "dim": plan.dim,
        "seed": plan.seed,
        "queries": plan.num_queries,
        "top": TOP,
        "bare": "read into memory, ragkit's mapped; after the changes bare is searched as it was, without them",
        "memory": "resident memory added (Rss of smaps_rollup), files in the page cache",
        "written": "bytes given to write() (wchar of /proc/self/io)",
    }


class Scale:
    """One number of passages: their documents, inserted once, and each kind of index over them."""

    def __init__(self, data: Path, config: Config, plan: IndexSpeedPlan, size: int, tell: Tell) -> None:
        self._folder = data / f"{size}-{plan.dim}d-seed{plan.seed}"
        self._config, self._plan, self._size = config, plan, size
        self._tell_all = tell
        self._queries = clustered_queries(plan.num_queries, size, plan.dim, plan.seed)
        self._embedder = ClusteredEmbedder(plan.dim, plan.seed, self._queries)

    def measure(self, kind: str) -> IndexSpeed:
        """Everything about one kind."""
        build = self.built(kind)
        self._tell(f"{kind}: opening")
        openings = {what: self._opening(what, kind) for what in WHATS}
        self._tell(f"{kind}: searching")
        searches, recall, bare_recall = self._searched(kind)
        corpus_search_s = self._corpus_searched(kind)
        self._tell(f"{kind}: changing")
        changes, changed = self._changed(kind)
        return IndexSpeed(
            num_passages=self._size,
            kind=kind,
            build=build,
            opening=openings["index"],
            bare_opening=openings["bare"],
            mapped_opening=openings["mapped"],
            corpus_opening=openings["corpus"],
            searches=searches,
            corpus_search_s=corpus_search_s,
            recall=recall,
            bare_recall=bare_recall,
            changes=changes,
            changed=changed,
        )

    @cached_property
    def _vectors(self) -> FloatArray:
        return clustered_vectors(self._size, self._plan.dim, self._plan.seed)

    @cached_property
    def _truth(self) -> KeyArray:
        return exact_rows(self._vectors, self._queries, TOP)

    def _settings(self, kind: str) -> Config:
        few = max(1, min(self._config.index.min_vectors, self._size // 2))
        index = {**self._config.index.model_dump(), "kind": kind, "min_vectors": few}
        return Config(
            index=IndexConfig(**index), lexical=self._config.lexical, retrieval=RetrievalConfig(method="dense")
        )

    def _corpus(self, kind: str) -> Path:
        return self._folder / quote(kind, safe="")

    def _bare_path(self, kind: str) -> Path:
        return self._corpus(kind).with_suffix(".faiss")

    def _open(self, path: Path, kind: str, embedder: ClusteredEmbedder | None = None) -> Corpus:
        return Corpus.open(path, config=self._settings(kind), embedder=embedder or self._embedder)

    def _documents(self) -> tuple[Path, float]:
        """The corpus of all passages without an index, and the seconds that it took."""
        path, done = self._folder / "documents", self._folder / "documents.json"
        told = self._noted(done, self._made_with())
        if told is not None:
            return path, float(told["seconds"])
        shutil.rmtree(path, ignore_errors=True)
        records = clustered_records(0, self._size, self._plan.seed)
        embedder = ClusteredEmbedder(self._plan.dim, self._plan.seed, rows=self._vectors)
        with self._open(path, "flat", embedder) as corpus:
            started = time.perf_counter()
            report = corpus.add(records, progress=self._progress())
            seconds = time.perf_counter() - started
        if report.num_passages != self._size:
            raise DataError(f"{report.num_passages} passages came of {self._size} documents: {report.failed[:3]}")
        done.write_text(json.dumps({"made_with": self._made_with(), "seconds": seconds}))
        return path, seconds

    def _made_with(self, **more: object) -> dict[str, object]:
        return {"ragkit": __version__, "lexical": self._config.lexical.model_dump(mode="json"), **more}

    def _noted(self, done: Path, made_with: dict[str, object]) -> dict[str, Any] | None:
        """What an earlier run has noted, if it made the same."""
        if not done.exists():
            return None
        told: dict[str, Any] = json.loads(done.read_text())
        before = told.get("made_with", {})
        if before == made_with:
            return told
        other = ", ".join(name for name in made_with if made_with[name] != before.get(name))
        self._tell(f"{done.stem}: made anew, as what lies there was made with another: {other}")
        # What is half made shall not be taken for what was noted.
        done.unlink()
        return None

    def built(self, kind: str) -> Build:
        """The corpus with this kind of index and the bare index, made or found."""
        settings = self._settings(kind).index.model_dump(mode="json")
        made_with = self._made_with(index=settings, faiss=str(require("faiss").__version__))
        done = self._corpus(kind).with_suffix(".json")
        told = self._noted(done, made_with)
        if told is not None:
            return Build(**told["build"])
        documents, documents_s = self._documents()
        self._tell(f"{kind}: building the index")
        path = self._corpus(kind)
        copy_corpus(documents, path)
        with self._open(path, kind) as corpus:
            started = time.perf_counter()
            # A long run leaves several shards; bare FAISS has one index.
            corpus.compact()
            index_s = time.perf_counter() - started
        facts, num_bytes, vector_bytes = self._index_facts(kind)
        self._tell(f"{kind}: building bare {facts.factory}")
        bare_s, bare_path = self._build_bare(kind, facts), self._bare_path(kind)
        build = Build(
            factory=facts.factory,
            why=facts.why,
            effort=facts.effort,
            refine_factor=facts.refine_factor,
            recall=facts.recall,
            documents_s=documents_s,
            index_s=index_s,
            trained_s=facts.build_seconds,
            bare_s=bare_s,
            num_bytes=num_bytes,
            vector_bytes=vector_bytes,
            bare_num_bytes=bare_path.stat().st_size,
        )
        done.write_text(json.dumps({"made_with": made_with, "build": asdict(build)}))
        return build

    def _index_facts(self, kind: str) -> tuple[IndexFacts, int, int]:
        """What the corpus says of its one index, the size of its file, and of those of the vectors.

        An exact search has no file.
        """
        path = self._corpus(kind)
        with closing(Catalogue(path)) as catalogue:
            known = index_facts(catalogue, TEXTS)
            sizes = {file.path: file.num_bytes for file in space_files(catalogue, TEXTS)}
        vector_bytes = sum(size for name, size in sizes.items() if name not in known)
        if not known:
            return IndexFacts(0, self._size, "Flat", f'index.kind = "{kind}"'), 0, vector_bytes
        if len(known) > 1 or next(iter(known.values())).num_vectors != self._size:
            raise DataError(f"{path} has {len(known)} indexes, and not one of {self._size} vectors")
        name, facts = next(iter(known.items()))
        return facts, sizes[name], vector_bytes

    def _build_bare(self, kind: str, facts: IndexFacts) -> float:
        vectors = self._vectors
        started = time.perf_counter()
        index = build_bare(vectors, facts.factory, facts.refine_factor > 0, training_sample)
        set_effort(index, facts.effort, facts.refine_factor)
        save_bare(index, self._bare_path(kind))
        return time.perf_counter() - started

    def _opening(self, what: What, kind: str) -> Opening:
        plan, is_bare = self._plan, what in ("bare", "mapped")
        path = self._bare_path(kind) if is_bare else self._corpus(kind)
        config = self._settings(kind).model_dump(mode="json")
        task = Probe(what, str(path), config, plan.dim, plan.seed, self._size, plan.num_queries)
        return opening(task, plan.repeats)

    def _searched(self, kind: str) -> tuple[tuple[Comparison, ...], float, float]:
        """Search times of the index and of bare FAISS in turns, and the recall of both."""
        bare = read_bare(self._bare_path(kind))
        with closing(Catalogue(self._corpus(kind))) as catalogue, catalogue.snapshot():
            index = open_vectors(catalogue, TEXTS, self._settings(kind).index)
            keys = self._keys_by_row(catalogue)
        _, found = index.search(self._queries, TOP)
        rows = np.where(found < 0, -1, np.searchsorted(keys, found))
        _, bare_rows = bare.search(self._queries, TOP)
        searches = compare_searches(index, bare, self._queries, TOP, self._plan.timings)
        return searches, recall_of(rows, self._truth), recall_of(bare_rows, self._truth)

    def _changed(self, kind: str) -> tuple[tuple[Change, ...], ChangedSearches]:
        """What changes of a copy cost, and searching it afterwards."""
        path, settings = self._corpus(kind).with_suffix(".changed"), self._settings(kind)
        copy_corpus(self._corpus(kind), path)
        changes = measure_changes(path, settings, self._embedder, self._size, self._plan)
        self._tell(f"{kind}: searching after the changes")
        with closing(Catalogue(path)) as catalogue, catalogue.snapshot():
            index = open_vectors(catalogue, TEXTS, settings.index)
            shards = read_shards(path, TEXTS, space_files(catalogue, TEXTS))
            dead = catalogue.dead_keys()
        # As before the changes: not the first touch of mapped pages is compared.
        index.search(self._queries, TOP)
        bare = read_bare(self._bare_path(kind))
        searches = compare_searches(index, bare, self._queries, TOP, self._plan.timings)
        shutil.rmtree(path)
        return changes, ChangedSearches(len(shards), sum(len(shard.dead_rows(dead)) for shard in shards), searches)

    def _keys_by_row(self, catalogue: Catalogue) -> KeyArray:
        """The key of each row: documents were stored in the order of their rows."""
        store = SqlitePassageStore(catalogue)
        keys = store.keys()
        some = np.linspace(0, self._size - 1, 11).astype(int)
        names = [passage.document for passage in store.passages(keys[some].tolist())]
        if len(keys) != self._size or names != [f"d{row}" for row in some]:
            raise DataError(f"the passages in {catalogue.folder} are not in the order in which they were added")
        return keys

    def _corpus_searched(self, kind: str) -> tuple[float, ...]:
        """Seconds of each `Corpus.search`, as many as searches of single vectors are timed."""
        count = min(max(repeats for _, repeats in self._plan.timings), self._plan.num_queries)
        seconds: list[float] = []
        with self._open(self._corpus(kind), kind) as corpus:
            corpus.search("query 0", TOP)
            for i in range(count):
                with timed(seconds):
                    corpus.search(f"query {i}", TOP)
        return tuple(seconds)

    def _progress(self) -> Callable[[IndexProgress], None]:
        last = time.monotonic()

        def tell(progress: IndexProgress) -> None:
            nonlocal last
            if time.monotonic() - last > _TELL_EVERY_S:
                last = time.monotonic()
                self._tell(f"{progress.stage}, {progress.passages_done:,} passages")

        return tell

    def _tell(self, text: str) -> None:
        self._tell_all(f"{self._size:,} passages: {text}")

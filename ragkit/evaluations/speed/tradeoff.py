"""`ragkit eval tradeoff`: what each way to keep vectors takes, how fast it is searched, and how well it ranks."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.speed.timing import machine_facts
from ragkit.eval.speed.tradeoff import TradeoffPlan, Variant, VariantResult, summarise_variants
from ragkit.eval.speed.tradeoff_report import TradeoffReport
from ragkit.evaluations.run_plan import plan_of, session_facts
from ragkit.evaluations.speed.tradeoff_data import TradeoffData
from ragkit.evaluations.speed.tradeoff_settings import check_kinds, settings_of, with_token_vectors, with_tokens
from ragkit.indexers.index_report import IndexProgress
from ragkit.indexers.lock import writer_lock
from ragkit.indexers.vectors.token_vectors import FOLDER as TOKENS
from ragkit.indexers.vectors.vector_shards import SPACES
from ragkit.protocols import Embedder
from ragkit.records import Query

_CORPORA = "corpora"
_TIMES = "seconds of searches"
# Of each variant, after some that are not timed.
_SEARCHES, _WARMUPS, _TOP = 200, 3, 10

Tell = Callable[[str], None]


def measure_tradeoff(
    data: Path,
    config: Config,
    plan: TradeoffPlan,
    out: Path,
    split: str = "test",
    progress: Callable[[IndexProgress], None] | None = None,
    tell: Tell = lambda _: None,
    embedder: Embedder | None = None,
) -> TradeoffReport:
    """Index once for each kind of token vectors, copy, build each kind of index, measure.

    The corpora that are copied are those that `ragkit eval retrieval` keeps in the cache. Variants that the run in
    `out` has finished are not built again; times are taken at the end, with the variants in turns.

    Args:
        embedder: in place of the configured one of texts.

    Raises:
        ConfigError: the settings search no vectors, or a kind is unknown.
        DataError: the collection is malformed, or `out` holds a run with another plan.
    """
    plan = with_token_vectors(plan, config)
    source = TradeoffData(data, config, split, embedder)
    variants = list(plan.variants())
    first = with_tokens(config, variants[0])
    with source.open(first, source.folder(first)) as corpus:
        check_kinds(corpus, plan)
        facts = plan_of("eval tradeoff", config, corpus, source.facts() | asdict(plan))
        session = {**session_facts(corpus), "data_folder": data.resolve().name}
    with RunFolder(out, facts, session) as run:
        sweep = _Sweep(config, source, run, progress, tell)
        results = [sweep.result(variant) for variant in variants]
        report = _report(results, sweep.times(variants))
        if run.manifest.completed is None:
            run.complete({"variants": report.to_json()["variants"]})
        shutil.rmtree(out / _CORPORA, ignore_errors=True)
    return report


@dataclass(frozen=True, slots=True)
class SearchTimes:
    """seconds: of each search, by the variant's name. embeds: whether they include embedding the query."""

    seconds: Mapping[str, Sequence[float]]
    embeds: bool


class _Sweep:
    """Builds variants below the run's folder, and measures what is not finished."""

    def __init__(
        self,
        config: Config,
        source: TradeoffData,
        run: RunFolder,
        progress: Callable[[IndexProgress], None] | None,
        tell: Tell,
    ) -> None:
        self._config, self._source, self._run = config, source, run
        self._progress, self._tell = progress, tell

    def result(self, variant: Variant) -> VariantResult:
        """As it was measured, in this session or an earlier one."""
        if variant.name not in self._run.finished:
            self._tell(f"{variant.name}: building and ranking")
            self._run.record({variant.name: self._measured(variant).to_row()})
        return VariantResult.from_row(self._run.finished[variant.name])

    def times(self, variants: Sequence[Variant]) -> SearchTimes:
        """Of single searches in all variants."""
        if _TIMES not in self._run.finished:
            self._tell("timing searches, the variants in turns")
            self._run.record({_TIMES: asdict(self._timed(variants))})
        return SearchTimes(**self._run.finished[_TIMES])

    def _measured(self, variant: Variant) -> VariantResult:
        folder, config = self._built(variant), settings_of(self._config, variant)
        with self._source.open(config, folder) as corpus:
            info = corpus.info()
        built = list(info.indexes.values())
        vectors, index = _bytes_in(folder)
        return VariantResult(
            variant,
            info.num_passages,
            info.num_pages,
            " + ".join(dict.fromkeys(facts.factory for facts in built)) or "exact",
            "; ".join([*(facts.why for facts in built), *info.searched_exactly]),
            min((facts.recall for facts in built), default=1.0),
            vectors,
            index,
            sum(path.stat().st_size for path in folder.glob(f"{TOKENS}/*")),
            self._source.ndcg(config, folder),
        )

    def _built(self, variant: Variant) -> Path:
        """The corpus of a variant: a copy, which takes its name when its index is built."""
        folder = self._run.folder / _CORPORA / quote(variant.name, safe="")
        if folder.is_dir():
            return folder
        config, half = settings_of(self._config, variant), folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(half, ignore_errors=True)
        made = self._source.indexed(with_tokens(self._config, variant), self._progress)
        with writer_lock(made):
            shutil.copytree(made, half, copy_function=_copied)
        with self._source.open(config, half) as corpus:
            problems = corpus.compact().warnings
        if problems:
            raise DataError(f"{variant.name} cannot be had: {'; '.join(problems)}")
        half.rename(folder)
        return folder

    def _timed(self, variants: Sequence[Variant]) -> SearchTimes:
        """Each query is searched for in all variants, and another one begins each time."""
        seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
        with ExitStack() as opened:
            corpora: dict[str, Corpus] = {}
            for variant in variants:
                shared = next(iter(corpora.values()), None)
                opening = self._source.open(settings_of(self._config, variant), self._built(variant), shared)
                corpora[variant.name] = opened.enter_context(opening)
            queries = self._source.queries(next(iter(corpora.values())))
            for corpus in corpora.values():
                for query in queries[:_WARMUPS]:
                    corpus.search(query, _TOP)
            names = list(corpora)
            for number in range(_SEARCHES):
                query, turn = queries[number % len(queries)], number % len(names)
                for name in [*names[turn:], *names[:turn]]:
                    seconds[name].append(_seconds_of(corpora[name], query))
        return SearchTimes(seconds, queries[0].dense is None)


def _seconds_of(corpus: Corpus, query: Query) -> float:
    started = time.perf_counter()
    corpus.search(query, _TOP)
    return time.perf_counter() - started


def _bytes_in(folder: Path) -> tuple[int, int]:
    """Of the vectors with their keys, and of the indexes."""
    vectors = index = 0
    for space in SPACES:
        for path in folder.glob(f"{space.folder}/*"):
            size = path.stat().st_size
            index, vectors = (index + size, vectors) if path.suffix == ".faiss" else (index, vectors + size)
    return vectors, index


def _copied(source: str, target: str) -> None:
    """Pictures of pages are never changed, and are most of what a corpus has."""
    if source.endswith((".jpg", ".webp")):
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # Another file system: copied like the rest.
    shutil.copy2(source, target)


def _report(results: Sequence[VariantResult], times: SearchTimes) -> TradeoffReport:
    embedding = "with the embedding of the query" if times.embeds else "without the embedding of the query"
    facts = {**machine_facts(), "queries": len(results[0].by_query), "passages": results[0].num_passages}
    facts |= {"pages": results[0].num_pages, "searches of each variant": _SEARCHES}
    notes = [
        "Bytes: every kind keeps the float32 vectors, from which scores are made exact; index: what it adds. A "
        "document without pages is one page.",
        f"Times: single searches for {_TOP} hits, the variants in turns, {embedding}; token vectors of a query "
        "are always made within.",
        f"Changes are against {results[0].variant.name}. index.min_vectors was lowered to 1, so that each kind is "
        "built however few vectors there are.",
    ]
    notes += [
        f"{one.variant.name} was searched exactly: {one.why}."
        for one in results
        if one.factory == "exact" and one.variant.kind not in ("flat", "numpy")
    ]
    return TradeoffReport(tuple(summarise_variants(results, times.seconds)), facts, tuple(notes))

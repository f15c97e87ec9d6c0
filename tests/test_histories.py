"""Random histories of a corpus against a model of it in plain Python, for each kind of vector index."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ragkit import Corpus
from ragkit.records import Hit, TextRecord
from tests.fakes import HashEmbedder

KINDS = ("flat", "numpy", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw")
EXACT_WITHOUT_FILTER = ("flat", "numpy")
EXACT_WITH_FILTER = ("flat", "numpy", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq")
WORDS = (
    "tide crane rope barge pilot storm ledger signal quay anchor lantern chart mast keel harbour rudder".split()
)
K = 8

NUM_FIRST = 700
ids = st.integers(0, NUM_FIRST + 100)
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
colours = st.sampled_from(["red", "green", "blue"])
records = st.dictionaries(ids, st.tuples(texts, colours), min_size=1, max_size=40)
FACTORIES = {
    "ivf-flat": "IVF17,Flat",
    "ivf-sq8": "IVF17,SQ8",
    "ivf-pq": "IVF17,PQ8np",
    "ivf-rabitq": "IVF17,RaBitQ",
    "hnsw": "HNSW32",
}


def settings_of(kind: str, method: str) -> dict[str, dict[str, object]]:
    return {
        "index": {"kind": kind, "min_vectors": 300, "recall_target": 0.95},
        "retrieval": {"method": method},
        "lexical": {"language": "none"},
    }


def bm25(model: dict[str, str], query: str, k1: float = 1.5, b: float = 0.75) -> dict[str, float]:
    """Lucene's formula, a term at a time; documents that share no term are left out."""
    counts = {id_: Counter(text.split()) for id_, text in model.items()}
    average = sum(sum(count.values()) for count in counts.values()) / max(1, len(counts))
    scores: dict[str, float] = {}
    for term in query.split():
        holders = [id_ for id_, count in counts.items() if term in count]
        idf = math.log(1 + (len(counts) - len(holders) + 0.5) / (len(holders) + 0.5))
        for id_ in holders:
            count, length = counts[id_][term], sum(counts[id_].values())
            weight = count / (count + k1 * (1 - b + b * length / average))
            scores[id_] = scores.get(id_, 0.0) + idf * weight
    return scores


class History(RuleBasedStateMachine):
    """The corpus on disk beside `model`: id -> (text, colour)."""

    kind = "flat"
    recalls: list[float]
    filtered_recalls: list[float]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, tuple[str, str]] = {}
        self.vectors: dict[str, np.ndarray] = {}
        self.embedder = HashEmbedder()
        self.dense = self.lexical = None
        self.recalls, self.filtered_recalls = [], []
        self._open()

    def _open(self) -> None:
        path = self.folder / "corpus"
        self.dense = Corpus.open(path, embedder=self.embedder, config=settings_of(self.kind, "dense"))
        self.lexical = Corpus.open(path, embedder=self.embedder, config=settings_of(self.kind, "bm25"))

    def _close(self) -> None:
        self.dense.close()
        self.lexical.close()

    def teardown(self) -> None:
        self._close()
        shutil.rmtree(self.folder)
        # Some searches of one history: their mean is not far below what was asked for.
        for found, least in ((self.recalls, 0.85), (self.filtered_recalls, 0.95)):
            assert len(found) < 5 or np.mean(found) >= least, f"mean recall {np.mean(found):.3f} of {len(found)}"

    def _add(self, new: dict[int, tuple[str, str]]) -> None:
        given = [TextRecord(f"d{i}", text, attributes={"colour": colour}) for i, (text, colour) in new.items()]
        report = self.dense.add(given)
        assert not report.failed
        for i, pair in new.items():
            self.model[f"d{i}"] = pair

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        pairs = {
            i: (" ".join(rng.choice(WORDS, rng.integers(2, 12))), ["red", "green", "blue"][rng.integers(3)])
            for i in range(NUM_FIRST)
        }
        self._add(pairs)
        # An index that is searched in part: what it finds is not exact by itself.
        facts = list(self.dense.info().indexes.values())
        wanted = FACTORIES.get(self.kind)
        assert [found.factory for found in facts] == ([] if wanted is None else [wanted])
        assert all(found.effort < 17 for found in facts if found.factory.startswith("IVF"))

    @rule(new=records)
    def add_or_replace(self, new: dict[int, tuple[str, str]]) -> None:
        self._add(new)

    @rule(gone=st.sets(ids, min_size=1, max_size=40))
    def remove(self, gone: set[int]) -> None:
        wanted = [f"d{i}" for i in sorted(gone)]
        removed = self.dense.remove(wanted)
        assert sorted(removed) == sorted(id_ for id_ in wanted if id_ in self.model)
        texts_gone = [self.model.pop(id_)[0] for id_ in removed]
        for text in texts_gone[:1]:
            self._search(text)

    @rule(colour=colours, number=ids)
    def recolour(self, colour: str, number: int) -> None:
        if f"d{number}" in self.model:
            self.dense.set_attributes({f"d{number}": {"colour": colour}})
            self.model[f"d{number}"] = (self.model[f"d{number}"][0], colour)

    @rule()
    def compact(self) -> None:
        self.dense.compact()
        info = self.dense.info()
        assert (info.num_dead, info.num_documents) == (0, len(self.model))

    @rule()
    def reopen(self) -> None:
        self._close()
        self._open()

    @rule(query=texts)
    def search(self, query: str) -> None:
        self._search(query)

    def _search(self, query: str) -> None:
        hits = self.dense.search(query, K)
        share = self._check_dense(query, hits, self.model)
        if self.kind in EXACT_WITHOUT_FILTER:
            assert share == 1
        else:
            self.recalls.append(share)

    @rule(query=texts, colour=colours)
    def search_filtered(self, query: str, colour: str) -> None:
        allowed = {id_: pair for id_, pair in self.model.items() if pair[1] == colour}
        if allowed:
            share = self._check_dense(query, self.dense.search(query, K, where=f"colour = {colour}"), allowed)
            if self.kind in EXACT_WITH_FILTER:
                assert share == 1
            else:
                self.filtered_recalls.append(share)

    @rule(query=texts)
    def search_words(self, query: str) -> None:
        hits = self.lexical.search(query, 1000)
        expected = bm25({id_: text for id_, (text, _) in self.model.items()}, query)
        assert {hit.passage.document for hit in hits} == set(expected)
        for hit in hits:
            assert hit.score == pytest.approx(expected[hit.passage.document], abs=1e-6)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def _vector(self, text: str) -> np.ndarray:
        if text not in self.vectors:
            self.vectors[text] = self.embedder.embed_queries([text])[0]
        return self.vectors[text]

    def _check_dense(self, query: str, hits: list[Hit], allowed: dict[str, tuple[str, str]]) -> float:
        """Share of the true best that was found; every hit must be living, allowed and scored exactly."""
        vector = self.embedder.embed_queries([query])[0]
        names = list(allowed)
        scores = np.stack([self._vector(allowed[name][0]) for name in names]) @ vector
        by_name = dict(zip(names, scores.tolist(), strict=True))
        assert len({hit.passage.document for hit in hits}) == len(hits) == min(K, len(names))
        for hit in hits:
            assert hit.passage.text == allowed[hit.passage.document][0]
            assert hit.score == pytest.approx(by_name[hit.passage.document], abs=1e-5)
        # Ties may be cut either way: what counts is the score.
        worst = sorted(by_name.values(), reverse=True)[: len(hits)][-1]
        return sum(hit.score >= worst - 1e-5 for hit in hits) / len(hits)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if self.dense is not None:
            assert self.dense.info().num_documents == len(self.model)


def run(kind: str, examples: int, steps: int) -> None:
    machine = type("HistoryOf", (History,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_equals_its_model(kind: str):
    run(kind, 3, 30)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_thousand_steps_equal_their_model(kind: str):
    run(kind, 40, 50)


@pytest.mark.parametrize("num_updates", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_bm25_after_many_updates_equals_a_rebuild(tmp_path: Path, num_updates: int):
    rng = np.random.default_rng(1)
    configuration = {"embedder": {"name": "none"}}

    def record(number: int) -> TextRecord:
        return TextRecord(f"d{number}", " ".join(rng.choice(WORDS, rng.integers(1, 30))))

    model = {number: record(number) for number in range(300)}
    with Corpus.open(tmp_path / "old", config=configuration) as corpus:
        corpus.add(list(model.values()))
        for _ in range(num_updates):
            number = int(rng.integers(0, 400))
            if number in model and rng.random() < 0.5:
                corpus.remove(f"d{number}")
                del model[number]
            else:
                model[number] = record(number)
                corpus.add(model[number])
        with Corpus.open(tmp_path / "new", config=configuration) as fresh:
            fresh.add(list(model.values()))
            for query in (*WORDS, "tide crane rope", "storm storm ledger quay", "the keel"):
                mine = {hit.passage.document: hit.score for hit in corpus.search(query, 500)}
                theirs = {hit.passage.document: hit.score for hit in fresh.search(query, 500)}
                assert mine == pytest.approx(theirs, abs=1e-6)

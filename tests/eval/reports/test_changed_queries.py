import pytest

from ragkit.errors import DataError
from ragkit.eval.reports.changed_queries import Found, Returned, trec_order
from ragkit.eval.reports.compare_paths import compare_paths
from ragkit.eval.sets.questions import Place
from ragkit.eval.sets.trec import write_qrels, write_run
from ragkit.files import sha256_of
from tests.compared_runs import write_answers_folder, write_collection, write_retrieval_folder, write_runs


def test_both_sides_show_what_was_found_with_grades(tmp_path):
    paths, qrels = write_runs(tmp_path)
    report = compare_paths(paths[:2], qrels, ["RR"])
    assert [(one.query, one.difference, one.relevant) for one in report.changed] == [
        ("q2", 0.5, ("r",)),
        ("q3", 0.25, ("r",)),
        ("q4", 0.25, ("r",)),
    ]
    assert report.changed[0].a == Returned(
        "old",
        0.5,
        (
            Found(1, "o1", 4.0, 0, ""),
            Found(2, "r", 3.0, 2, ""),
            Found(3, "o2", 2.0, None, ""),
            Found(4, "o3", 1.0, None, ""),
        ),
        "",
    )
    assert [one.document for one in report.changed[0].b.found] == ["r", "o1", "o2", "o3"]


def test_texts_of_the_collection_are_shown(tmp_path):
    paths, qrels = write_runs(tmp_path)
    data = write_collection(tmp_path / "data", "word " * 100)
    first = compare_paths(paths[:2], qrels, ["RR"], data=data).changed[0]
    assert first.text.startswith("question q2 word word")
    assert first.b.found[0].text.startswith("title of r: word word")
    assert len(first.b.found[0].text) == 300
    assert first.b.found[0].text.endswith("…")


def test_a_collection_of_other_queries_is_refused(tmp_path):
    paths, qrels = write_runs(tmp_path)
    data = write_collection(tmp_path / "data")
    (data / "queries.jsonl").write_text('{"_id": "x1", "text": "another"}\n')
    with pytest.raises(DataError, match=r"queries\.jsonl has none of the 3 queries to be shown, 'q2' among them"):
        compare_paths(paths[:2], qrels, ["RR"], data=data)


def test_answers_are_shown_with_gold_answers_and_places(tmp_path):
    a = write_answers_folder(tmp_path / "a", {"q1": {"f1": 0.5}, "q2": {"f1": 1.0}})
    b = write_answers_folder(tmp_path / "b", {"q1": {"f1": 1.0}, "q2": {"f1": 1.0}})
    (one,) = compare_paths([a, b], measures=["f1"]).changed
    assert (one.query, one.text, one.gold, one.relevant) == ("q1", "question q1", ("gold",), ("d1#p2",))
    assert one.b == Returned("b", 1.0, (Found(1, "d1#p2", 0.5, 1, ""), Found(2, "d2#p1", 0.25, None, "")), "gold")


def test_every_page_of_a_gold_document_without_a_page_is_gold(tmp_path):
    places = (Place("d1"), Place("d2", 7))
    a = write_answers_folder(tmp_path / "a", {"q1": {"f1": 0.5}}, places=places)
    b = write_answers_folder(tmp_path / "b", {"q1": {"f1": 1.0}}, places=places)
    (one,) = compare_paths([a, b]).changed
    assert one.relevant == ("d1", "d2#p7")
    assert one.a.found == (Found(1, "d1#p2", 0.5, 1, ""), Found(2, "d2#p1", 0.25, None, ""))


def test_documents_are_ordered_as_trec_eval_does():
    # 1 + 1e-9 is 1 in float32: a tie, which the greater id wins.
    assert [name for name, _ in trec_order({"a": 1 + 1e-9, "b": 1.0, "c": 2.0})] == ["c", "b", "a"]


def test_relevant_documents_behind_the_first_are_shown_with_their_ranks(tmp_path):
    documents = [f"d{rank:03}" for rank in range(1, 201)]
    low, high = tmp_path / "low.run", tmp_path / "high.run"
    write_run(low, {"q": {name: float(-rank) for rank, name in enumerate(documents)}})
    write_run(high, {"q": {name: float(rank) for rank, name in enumerate(documents)}})
    qrels = tmp_path / "qrels.txt"
    # At ranks 2, 7, 8, 9, 10, 11, 12 and 150 of low; the other way round all but the last are below 100.
    relevant = [documents[rank - 1] for rank in (2, 7, 8, 9, 10, 11, 12, 150)]
    write_qrels(qrels, {"q": dict.fromkeys(relevant, 1) | {"d006": 0}})
    (one,) = compare_paths([low, high], qrels, ["RR"]).changed
    assert [found.rank for found in one.a.found] == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert [found.rank for found in one.b.found] == [1, 2, 3, 4, 5, 51]
    assert one.b.found[-1] == Found(51, "d150", 149.0, 1, "")


def test_texts_of_other_documents_than_were_searched_are_refused(tmp_path):
    _, qrels = write_runs(tmp_path)
    data = write_collection(tmp_path / "data")
    facts = {"fingerprint": sha256_of(data / "corpus.jsonl")}
    old = write_retrieval_folder(tmp_path / "a", "old", 0.1, facts)
    new = write_retrieval_folder(tmp_path / "b", "new", 0.1, facts)
    assert compare_paths([old, new], qrels, ["RR"], data=data).changed[0].text.startswith("question q2")
    with (data / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"_id": "x", "text": "one more"}\n')
    with pytest.raises(DataError, match=r"a searched other documents .*; give the folder of its collection"):
        compare_paths([old, new], qrels, ["RR"], data=data)
